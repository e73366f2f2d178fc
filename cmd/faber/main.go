// Command faber runs Prefect flows on AWS ECS Fargate.
package main

import (
	"context"
	"os"

	"faber/internal/cli"
)

func main() {
	os.Exit(cli.Main(context.Background(), os.Args[1:], cli.System()))
}
