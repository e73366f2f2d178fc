"""Tells what Prefect and Python take each character for: a line of JSON for each
that is something, [code point, in names, blank, printable, digit]."""

import json
import re
import sys
import unicodedata

from prefect.utilities.templating import PLACEHOLDER_CAPTURE_REGEX

for point in range(sys.maxunicode + 1):
    character = chr(point)
    if unicodedata.category(character) in ("Cn", "Cs"):
        continue  # unassigned, or half a character
    try:
        digit = int(character)
    except ValueError:
        digit = -1
    print(
        json.dumps(
            [
                point,
                int(bool(PLACEHOLDER_CAPTURE_REGEX.fullmatch("{{" + character + "}}"))),
                int(bool(re.fullmatch(r"\s", character))),
                int(repr(character)[1:-1] == character),
                digit,
            ]
        )
    )
