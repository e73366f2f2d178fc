package process

import (
	"os"
	"strings"
)

// bootID is another one after each boot of the machine.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// firstPIDNamespace is the one that a machine boots with.
const firstPIDNamespace = "4026531836"

// pidNamespace tells containers with the same host name apart; "" outside of any.
func pidNamespace() string {
	link, err := os.Readlink("/proc/self/ns/pid")
	id := strings.TrimSuffix(strings.TrimPrefix(link, "pid:["), "]")
	if err != nil || id == firstPIDNamespace {
		return ""
	}
	return id
}
