# From a plan as JSON: the text for those who approve. One line of plain ASCII of
# at most $limit characters: how much of what, then what is destroyed and what is
# made anew, since these are what one looks for.

def plain: explode | map(if . < 32 or . > 126 then 63 else . end) | implode
  # CodePipeline puts variables in where it sees this.
  | gsub("#\\{"; "# {");

def actions($wanted): select(.change.actions | . == $wanted);
def replaced: select(.change.actions | . == ["delete", "create"] or . == ["create", "delete"]);
def addresses: map(.address | plain);
def counted($items; $what): $items | length | select(. > 0) | "\(.) to \($what)";

# Whole addresses as far as they go; how many there are is said before.
def cut($limit):
  " ... (cut; all of it is in the log)" as $rest
  | if length <= $limit then .
    else .[0:$limit - ($rest | length)] | .[0:(rindex(",") // length)] + $rest
    end;

[.resource_changes[]? | select(.mode == "managed")] as $all
| [$all[] | actions(["delete"])] as $destroyed
| [$all[] | replaced] as $replaced
| [
    counted([$all[] | actions(["create"])]; "add"),
    counted([$all[] | actions(["update"])]; "change"),
    counted($replaced; "replace"),
    counted($destroyed; "destroy"),
    counted([$all[] | select(.change.importing)]; "import"),
    counted([$all[] | select(.previous_address and .previous_address != .address)]; "move"),
    counted([$all[] | actions(["forget"])]; "forget")
  ] as $counts
| ([.output_changes[]? | select(.actions != ["no-op"])] | length > 0) as $outputs
| (if ($counts | length) > 0 then $counts | join(", ")
   elif $outputs then "only outputs change"
   else "no changes"
   end) as $head
| "\($head) (commit \($commit | plain | .[0:64]))."
  + (if ($destroyed | length) > 0 then " DESTROYED: " + ($destroyed | addresses | join(", ")) + "." else "" end)
  + (if ($replaced | length) > 0 then " REPLACED: " + ($replaced | addresses | join(", ")) + "." else "" end)
| cut($limit)
