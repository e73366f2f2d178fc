package process

import "syscall"

// bootID is another one after each boot of the machine. The time of the boot is
// not: it moves when the clock is set.
func bootID() string {
	id, err := syscall.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return ""
	}
	return id
}

func pidNamespace() string { return "" }
