package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"faber/internal/infra"

	"github.com/spf13/cobra"
)

// deployFlags are the flags of the commands that work on a stack in an AWS account.
type deployFlags struct {
	dir       string
	terraform string
	profile   string
}

func (f *deployFlags) addTo(cmd *cobra.Command) {
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&f.dir, "dir", ".", "`folder` of the Terraform configuration")
	cmd.Flags().StringVar(&f.terraform, "terraform", "", "terraform `program` to use (default: the one on PATH)")
}

// addProfileTo adds the flag of those commands that speak to Prefect, too.
func (f *deployFlags) addProfileTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.profile, "profile", "", "Prefect `profile` to use (default: the active one)")
}

// folder is the absolute path of --dir.
func (f *deployFlags) folder(std *IO) string {
	if filepath.IsAbs(f.dir) {
		return filepath.Clean(f.dir)
	}
	return filepath.Join(std.Dir, f.dir)
}

// shown is the folder as the user would type it, for commands that are suggested.
func (f *deployFlags) shown() string {
	if f.dir == "." || f.dir == "" {
		return ""
	}
	return " --dir " + f.dir
}

// open takes hold of the folder with its terraform. The caller closes the stack.
func (f *deployFlags) open(ctx context.Context, std *IO, progress func(infra.Progress), readOnly bool) (*infra.Stack, error) {
	dir := f.folder(std)
	if files, _ := filepath.Glob(filepath.Join(globEscaped(dir), "*.tf")); len(files) == 0 {
		return nil, usageError("'faber init' writes one; --dir names the folder of one that is there", "there is no Terraform configuration in %s", dir)
	}
	found, err := infra.Find(ctx, infra.FindOptions{Environ: std.Environ(), Path: f.terraform})
	if err != nil {
		return nil, err
	}
	return infra.Open(infra.Options{
		Dir: dir, Terraform: found.Path, Environ: std.Environ(), Progress: progress,
		UsersFolder: true, ReadOnly: readOnly, Logger: std.logger(false),
	})
}

// globEscaped is a path that stands for itself in a pattern.
func globEscaped(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// ready makes the folder ready for terraform: its modules and provider.
func ready(ctx context.Context, stack *infra.Stack) error {
	if err := stack.Init(ctx); err != nil {
		return terraformError(err, "correct what terraform names, and run the command again")
	}
	return nil
}

// terraformError is an error of a command of terraform with what to do about it.
// An interruption, and an error with a hint of its own, stay what they are.
func terraformError(err error, hint string) error {
	var withHint hinted
	if errors.Is(err, context.Canceled) || errors.As(err, &withHint) {
		return err
	}
	return &UserError{Message: err.Error(), Hint: hint, Err: err}
}

// outputs reads what the stack in the folder is. Others may work there meanwhile.
func (f *deployFlags) outputs(ctx context.Context, std *IO) (infra.Outputs, error) {
	stack, err := f.open(ctx, std, nil, true)
	if err != nil {
		return nil, err
	}
	defer stack.Close()
	outputs, err := stack.ModuleOutputs(ctx)
	if err != nil && ctx.Err() == nil && strings.Contains(err.Error(), "terraform init") {
		// A fresh checkout with the state elsewhere.
		if err := ready(ctx, stack); err != nil {
			return nil, err
		}
		outputs, err = stack.ModuleOutputs(ctx)
	}
	if errors.Is(err, infra.ErrNotApplied) {
		return nil, &UserError{Message: "nothing is applied yet in " + f.folder(std), Hint: "run 'faber apply" + f.shown() + "' first", Err: err}
	}
	return outputs, err
}

// progress shows what terraform is doing: on a terminal in one line that is
// redrawn, elsewhere by one line for each resource that is done.
type progress struct {
	std  *IO
	mu   sync.Mutex
	open bool // a line is on the screen that is going to be redrawn
}

// lineWidth is where a redrawn line is cut: one that wraps cannot be taken back.
const lineWidth = 100

// note shows what is going on, where it can be taken back.
func (p *progress) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.std.IsTerminal {
		return
	}
	text := []rune(fmt.Sprintf(format, args...))
	if len(text) > lineWidth {
		text = append(text[:lineWidth-1], '…')
	}
	fmt.Fprint(p.std.Err, "\r\x1b[K"+string(text))
	p.open = true
}

// say prints a line that stays.
func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintf(p.std.Err, format+"\n", args...)
}

// end takes the redrawn line away.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

func (p *progress) clear() {
	if p.open {
		fmt.Fprint(p.std.Err, "\r\x1b[K")
		p.open = false
	}
}

// terraform shows one piece of news of terraform.
func (p *progress) terraform(n infra.Progress) {
	switch {
	case n.Command != "apply" && n.Address != "":
		p.note("%s: reading %s", n.Command, n.Address)
	case n.Command != "apply":
		p.note("%s: %s", n.Command, strings.TrimSpace(firstLine(n.Message)))
	case n.Address == "" || n.Action == "read":
	case n.Stage == infra.StageComplete:
		p.say("%5d of %d  %-7s %s%s", n.Done, n.Total, past(n.Action), n.Address, after(n.Elapsed))
	case n.Stage == infra.StageErrored:
		p.say("%14s %-7s %s%s", "FAILED", n.Action, n.Address, after(n.Elapsed))
	default:
		p.note("%5d of %d  %-7s %s%s …", n.Done, n.Total, n.Action, n.Address, after(n.Elapsed))
	}
}

func past(action string) string {
	switch action {
	case "create":
		return "created"
	case "update":
		return "updated"
	case "delete":
		return "deleted"
	}
	return action
}

// after is how long something took, when that is worth a word.
func after(took time.Duration) string {
	if took < time.Second {
		return ""
	}
	return ", " + took.Round(time.Second).String()
}

// confirm asks a question that only yes answers. No answer is no.
func confirm(std *IO, question string) bool {
	fmt.Fprintf(std.Err, "%s\nOnly 'yes' goes on: ", question)
	answer := readLine(std.In)
	if !std.IsTerminal {
		fmt.Fprintln(std.Err) // nobody's Enter has ended the line
	}
	return answer == "yes"
}

// mayAsk refuses a command that would have to ask where nobody is there.
func mayAsk(std *IO, yes bool, command string) error {
	if yes || std.InIsTerminal {
		return nil
	}
	return usageError("give --yes to go on without being asked; 'faber plan' shows first what it would do", "'faber %s' asks before it changes anything, and standard input is no terminal", command)
}

// isFile says whether there is a file of the name.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
