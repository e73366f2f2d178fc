//go:build !linux

package dev

import "syscall"

// bindAhead does nothing: only Linux lacks the bridge before the first container.
func bindAhead(_, _ string, _ syscall.RawConn) error { return nil }
