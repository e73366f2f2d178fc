package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"faber/internal/launch"
)

// settings are a job's configuration, understood.
type settings struct {
	argv         []string
	env          []string
	dir          string // "" for a fresh temporary one
	streamOutput bool
}

// settings reads a job's configuration and reports all that is wrong with it.
func (l *Launcher) settings(job launch.Job) (settings, error) {
	s := settings{argv: l.opts.Command, streamOutput: true}
	var problems []error
	if strings.TrimSpace(job.Command) != "" {
		argv, err := split(job.Command)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s%w in the command %q", couldNotStart, err, job.Command))
		}
		s.argv = argv
	}
	switch dir := job.Configuration["working_dir"].(type) {
	case nil:
	case string:
		s.dir = dir
	default:
		problems = append(problems, fmt.Errorf("working_dir: a path is needed, not %v", dir))
	}
	if stream := job.Configuration["stream_output"]; stream != nil {
		yes, ok := readBool(stream)
		if !ok {
			problems = append(problems, fmt.Errorf("stream_output: true or false is needed, not %v", stream))
		}
		s.streamOutput = yes
	}
	s.env = environment(l.opts.Environ, job)
	return s, errors.Join(problems...)
}

// readBool reads what Prefect's worker takes for a boolean.
func readBool(value any) (yes, ok bool) {
	if b, isBool := value.(bool); isBool {
		return b, true
	}
	switch strings.ToLower(fmt.Sprint(value)) {
	case "true", "t", "yes", "y", "on", "1":
		return true, true
	case "false", "f", "no", "n", "off", "0":
		return false, true
	default:
		return false, false
	}
}

// environment is the worker's environment with the job's laid over it. A null
// in the configured env takes a variable away, also one of the worker's own.
func environment(base []string, job launch.Job) []string {
	env := make(map[string]string, len(base)+len(job.Env))
	var order []string
	set := func(name, value string) {
		if _, known := env[name]; !known {
			order = append(order, name)
		}
		env[name] = value
	}
	for _, pair := range base {
		if name, value, ok := strings.Cut(pair, "="); ok && name != "" {
			set(name, value)
		}
	}
	for _, v := range job.Env {
		set(v.Name, v.Value)
	}
	configured, _ := job.Configuration["env"].(map[string]any)
	for name, value := range configured {
		if value == nil {
			delete(env, name)
		}
	}
	delete(env, markerName) // the child gets one of its own
	pairs := make([]string, 0, len(order))
	for _, name := range order {
		if value, ok := env[name]; ok {
			pairs = append(pairs, name+"="+value)
		}
	}
	return pairs
}

// Launch starts the job's process. A second call for the same claim returns the
// first one's handle, also across a restart of the worker while it still runs.
func (l *Launcher) Launch(ctx context.Context, job launch.Job) (launch.Handle, error) {
	if err := ctx.Err(); err != nil {
		return launch.Handle{}, &launch.Failure{Kind: launch.FailureRetry, Message: "Flow run was not started: " + err.Error(), Err: err}
	}
	s, err := l.settings(job)
	if err != nil {
		return launch.Handle{}, &launch.Failure{
			Kind: launch.FailurePermanent, Message: err.Error(),
			Hint: "Correct the job variables of the deployment or the work pool.", Err: err,
		}
	}
	mark := markerOf(job)

	// Held over the start, so that two calls for one claim cannot both start.
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return launch.Handle{}, &launch.Failure{
			Kind: launch.FailureCapacity, Message: "Flow run could not start: the worker is stopping.",
		}
	}
	if c := l.byKey[mark.key()]; c != nil {
		return c.handle, nil
	}
	if left := scan(func(m marker) bool { return m.key() == mark.key() }); len(left) > 0 {
		h := left[0].handle()
		h.Place = l.place
		return h, nil
	}
	c, err := l.start(job, s)
	if err != nil {
		return launch.Handle{}, startFailure(s, err)
	}
	l.forget(time.Now())
	l.byKey[mark.key()] = c
	l.byPID[c.handle.PID] = c
	l.children.Go(func() {
		c.await()
		l.hint(c.handle)
	})
	// What a successor finds in the run's log when it asks where the run went.
	job.Log(slog.LevelInfo, fmt.Sprintf("Process %s started %s on %s", c.handle.PID, c.handle.StartedAt.UTC().Format(time.RFC3339), l.place))
	return c.handle, nil
}

// hint tells that something about a handle changed.
func (l *Launcher) hint(h launch.Handle) {
	select {
	case l.hints <- launch.Hint{PID: h.PID, FlowRunID: h.FlowRunID}:
	default: // nobody listens; the worker's sweep sees it
	}
}

func (l *Launcher) start(job launch.Job, s settings) (*child, error) {
	if err := checkDir(s.dir); err != nil {
		return nil, err
	}
	path, err := lookPath(s.argv[0], s.env, s.dir)
	if err != nil {
		return nil, err
	}
	c := &child{
		mark: markerOf(job), poolID: job.Pool.ID, oom: l.oom,
		ended: make(chan struct{}), drained: make(chan struct{}),
	}
	dir := s.dir
	if dir == "" {
		if dir, err = os.MkdirTemp(l.opts.TempDir, "*prefect"); err != nil {
			return nil, fmt.Errorf("make a working directory: %w", err)
		}
		c.tempDir = dir
	}
	c.cmd = &exec.Cmd{Path: path, Args: s.argv, Env: s.env, Dir: dir, SysProcAttr: ownGroup()}
	if err := c.start(s, l.opts.Output); err != nil {
		c.removeTempDir()
		return nil, err
	}
	c.handle = launch.Handle{
		PID: strconv.Itoa(c.cmd.Process.Pid), FlowRunID: job.FlowRunID, ClaimID: job.ClaimID,
		WorkerName: job.WorkerName, StartedAt: time.Now(), Place: l.place,
	}
	return c, nil
}

// checkDir finds out about a working directory that is none: the system would
// blame the program for it.
func checkDir(dir string) error {
	if dir == "" {
		return nil
	}
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "chdir", Path: dir, Err: syscall.ENOTDIR}
	}
	return err
}

// lookPath finds the program on the child's PATH, which a job may have changed,
// not on the worker's.
func lookPath(program string, env []string, dir string) (string, error) {
	if strings.ContainsRune(program, filepath.Separator) {
		if !filepath.IsAbs(program) && dir != "" {
			program = filepath.Join(dir, program)
		}
		return program, executable(program)
	}
	var denied error
	for _, pair := range env {
		list, ok := strings.CutPrefix(pair, "PATH=")
		if !ok {
			continue
		}
		for _, d := range filepath.SplitList(list) {
			if d == "" {
				d = "."
			}
			candidate := filepath.Join(d, program)
			err := executable(candidate)
			if err == nil {
				return candidate, nil
			}
			if errors.Is(err, fs.ErrPermission) {
				denied = err
			}
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", &fs.PathError{Op: "execute", Path: program, Err: syscall.ENOENT}
}

func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return &fs.PathError{Op: "execute", Path: path, Err: syscall.EACCES}
	}
	return nil
}

// couldNotStart is how Prefect begins to tell of a child that was not started.
const couldNotStart = "Flow run could not start: "

// startFailure says what a failed start means: a machine that is out of
// processes or memory may have some later, the rest needs somebody's hand.
func startFailure(s settings, err error) *launch.Failure {
	f := &launch.Failure{Kind: launch.FailurePermanent, Message: couldNotStart + pythonError(err), Err: err}
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ENOMEM), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		f.Kind = launch.FailureCapacity
		f.Hint = "The worker's machine is out of processes, memory or files; lower --limit or give it more."
	case errors.Is(err, syscall.ENOTDIR):
		f.Hint = "Correct working_dir of the job variables."
	case errors.Is(err, fs.ErrNotExist):
		f.Hint = fmt.Sprintf("Install %s where the worker runs and put it on PATH, and check working_dir and command of the job variables.", s.argv[0])
	case errors.Is(err, fs.ErrPermission):
		f.Hint = fmt.Sprintf("Make %s executable for the user the worker runs as.", s.argv[0])
	}
	return f
}

// pythonError is an error of the system as Python words it, and as it is searched
// for: number, text and path.
func pythonError(err error) string {
	var (
		number syscall.Errno
		path   *fs.PathError
	)
	if !errors.As(err, &number) || !errors.As(err, &path) {
		return err.Error()
	}
	text := number.Error()
	return fmt.Sprintf("[Errno %d] %s%s: '%s'", int(number), strings.ToUpper(text[:1]), text[1:], path.Path)
}
