//go:build chaos

package chaos

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// executeForReal runs the task's command, `prefect flow-run execute`, in a process
// of its own, with the environment that the task was given. The run's flow begins
// with a line in a file, by which it is known when user code ran.
func (l *life) executeForReal() int {
	witness := filepath.Join(l.e.p.dir, "began-"+l.run)
	env := slices.DeleteFunc(cleanEnviron(), func(pair string) bool { return strings.HasPrefix(pair, "HOME=") })
	home, err := os.MkdirTemp(l.e.p.dir, "home-")
	if err != nil {
		l.e.p.Error(err)
		return 1
	}
	for name, value := range l.environment() {
		if name != "PREFECT_API_URL" {
			env = append(env, name+"="+value)
		}
	}
	var out bytes.Buffer
	cmd := exec.Command(suite.prefect, "flow-run", "execute", l.run)
	cmd.Env = slices.Concat(env, []string{
		"PREFECT_API_URL=" + l.e.p.client.url, "HOME=" + home, "PREFECT_HOME=" + filepath.Join(home, ".prefect"),
		"CHAOS_WITNESS=" + witness, "PREFECT_SERVER_ANALYTICS_ENABLED=false",
	})
	cmd.Dir, cmd.Stdout, cmd.Stderr = home, &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		l.e.p.Error(err)
		return 1
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
	}()
	stopped := l.stopped
	var kill <-chan time.Time
	for {
		select {
		case <-done:
			if _, err := os.Stat(witness); err == nil {
				l.mu.Lock()
				l.began = time.Now()
				l.mu.Unlock()
			}
			l.e.p.Logf("`prefect flow-run execute` of %s, task %d, ended with %s:\n%s", l.run, l.n, cmd.ProcessState, tail(out.String(), 3000))
			if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
				return 128 + int(status.Signal())
			}
			return cmd.ProcessState.ExitCode()
		case <-stopped:
			stopped = nil
			_ = syscall.Kill(cmd.Process.Pid, syscall.SIGTERM)
			kill = time.After(30 * time.Second)
		case <-kill:
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		case <-l.e.ctx.Done():
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-done
			return sigkill
		}
	}
}

// codeBegan counts how often a real flow's code was begun.
func (p *play) codeBegan(run string) int {
	data, err := os.ReadFile(filepath.Join(p.dir, "began-"+run))
	if err != nil {
		return 0
	}
	return bytes.Count(data, []byte("\n"))
}

// writeFlow writes a Python file with a flow and returns its directory; the
// entrypoint is flow.py:main.
func (p *play) writeFlow(name, body string) string {
	dir := filepath.Join(p.dir, "flow-"+name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		p.fatal("%v", err)
	}
	source := "import os, time, signal\nfrom prefect import flow\n\n@flow\ndef main():\n" +
		"    with open(os.environ['CHAOS_WITNESS'], 'a') as f: f.write('began\\n')\n"
	for line := range strings.Lines(strings.TrimSpace(body)) {
		source += "    " + strings.TrimRight(line, "\n") + "\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "flow.py"), []byte(source), 0o644); err != nil {
		p.fatal("%v", err)
	}
	return dir
}
