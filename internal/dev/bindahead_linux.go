package dev

import "syscall"

// ipFreebind is IP_FREEBIND of <linux/in.h>, which package syscall leaves out.
const ipFreebind = 15

// bindAhead lets a listener take the address of a bridge that is not there yet:
// podman makes the bridge with the first container and removes it with the last.
func bindAhead(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, ipFreebind, 1)
	})
	if err != nil {
		return err
	}
	return failed
}
