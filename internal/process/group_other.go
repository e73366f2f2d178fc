//go:build unix && !linux

package process

import (
	"os"
	"syscall"
)

// ownGroup gives a child its own session. Only on Linux can marked processes be
// found: elsewhere a launch is its process group, and ends with its output when the
// worker is killed.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

func signalGroup(pid int, sig syscall.Signal) { _ = syscall.Kill(-pid, sig) } // gone already is fine

func signalMarked(marked, syscall.Signal) {}

func reap(map[int]bool) {}

func scan(func(marker) bool) []marked { return nil }

func sees() bool { return false }

func look(string) (marked, sight) { return marked{}, unclear }

func durable(w *os.File) (_ *os.File, name string) { return w, "" }

func outputOf(marker) *os.File { return nil }
