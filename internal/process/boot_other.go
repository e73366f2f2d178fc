//go:build unix && !linux && !darwin

package process

func bootID() string { return "" }

func pidNamespace() string { return "" }
