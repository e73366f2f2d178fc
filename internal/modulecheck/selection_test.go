//go:build !integration

package modulecheck

const everyExample = false
