package cli

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// IO is everything a command may touch of the process it runs in. Tests replace
// each part; System gives the real ones.
type IO struct {
	In  io.Reader
	Out io.Writer // results
	Err io.Writer // talk: progress, warnings, errors

	Env     func(name string) (string, bool)
	Environ func() []string
	Dir     string // working directory

	// IsTerminal says that Err is a terminal, so that lines may be redrawn;
	// InIsTerminal that somebody may answer.
	IsTerminal, InIsTerminal bool
}

// System is the IO of the real process.
func System() *IO {
	dir, err := os.Getwd()
	if err != nil {
		dir = "."
	}
	return &IO{
		In:         os.Stdin,
		Out:        os.Stdout,
		Err:        os.Stderr,
		Env:        os.LookupEnv,
		Environ:    os.Environ,
		Dir:        dir,
		IsTerminal: term.IsTerminal(int(os.Stderr.Fd())),

		InIsTerminal: term.IsTerminal(int(os.Stdin.Fd())),
	}
}

// env returns the value of an environment variable, "" when it is unset.
func (o *IO) env(name string) string {
	v, _ := o.Env(name)
	return v
}

// readLine reads one line and no byte more.
func readLine(r io.Reader) string {
	line, _ := readAnswer(r)
	return line
}

// readAnswer reads one line and no byte more, and says whether the input ended
// instead: nobody is going to give another answer then.
func readAnswer(r io.Reader) (answer string, ended bool) {
	var line []byte
	letter := make([]byte, 1)
	for {
		n, err := r.Read(letter)
		switch {
		case n > 0 && letter[0] == '\n':
			return strings.TrimSpace(string(line)), false
		case n == 0 && err != nil:
			return strings.TrimSpace(string(line)), true
		}
		line = append(line, letter[:n]...)
	}
}
