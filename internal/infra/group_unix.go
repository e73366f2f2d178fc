//go:build unix

package infra

import (
	"os/exec"
	"syscall"
)

// ownGroup keeps the signals of our process group from a child: it is told to
// end by us, once.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
