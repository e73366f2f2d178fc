package prefect

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Version reads the server's version.
func (c *Client) Version(ctx context.Context) (string, error) {
	var version string
	err := c.get(ctx, "/admin/version", &version)
	return version, err
}

// CheckVersion compares the server's version with the client's: another major
// version is an ErrIncompatible, an older server is only logged. Cloud is
// always compatible and is not asked.
func (c *Client) CheckVersion(ctx context.Context) error {
	if c.IsCloud() {
		return nil
	}
	server, err := c.Version(ctx)
	if err != nil {
		return err
	}
	theirs, ok := release(server)
	if !ok {
		return fmt.Errorf("the server gives its version as %q: %w", shorten(server, 40), ErrIncompatible)
	}
	ours, _ := release(Version)
	if theirs[0] != ours[0] {
		return &incompatibleError{server}
	}
	if older(theirs, ours) {
		c.log.Warn(fmt.Sprintf("Your Prefect server is running an older version of Prefect than your client which may result in unexpected behavior."+
			" Please upgrade your Prefect server from version %s to version %s or higher.", server, Version))
	}
	return nil
}

type incompatibleError struct{ server string }

func (e *incompatibleError) Error() string {
	return fmt.Sprintf("Found incompatible versions: client: %s, server: %s. Major versions must match.", Version, e.server)
}

func (e *incompatibleError) Is(target error) bool { return target == ErrIncompatible }

// release reads the numbers of a version such as "3.8.8", "3.9.0rc1" or
// "3.4.5+12.gabc".
func release(version string) ([3]int, bool) {
	var numbers [3]int
	version, _, _ = strings.Cut(version, "+")
	for i, part := range strings.SplitN(version, ".", 4) {
		if i == len(numbers) {
			break
		}
		digits := strings.IndexFunc(part, func(r rune) bool { return r < '0' || r > '9' })
		if digits >= 0 {
			part = part[:digits]
		}
		number, err := strconv.Atoi(part)
		if err != nil {
			return numbers, i > 0
		}
		numbers[i] = number
	}
	return numbers, true
}

func older(a, b [3]int) bool {
	for i := range a {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}
