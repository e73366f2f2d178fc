package dev

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"syscall"
)

// unmountBelow unmounts what a podman that was ended left mounted in its store;
// the directory could not be removed otherwise.
func unmountBelow(dir string) error {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("read the mounts: %w", err)
	}
	var points []string
	for line := range strings.SplitSeq(string(mounts), "\n") {
		fields := strings.Fields(line)
		const mountPoint = 4
		if len(fields) > mountPoint && strings.HasPrefix(fields[mountPoint], dir+"/") {
			points = append(points, fields[mountPoint])
		}
	}
	sort.Sort(sort.Reverse(sort.StringSlice(points))) // the deepest first
	for _, point := range points {
		if err := syscall.Unmount(point, syscall.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", point, err)
		}
	}
	return nil
}
