package cli

import (
	"fmt"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"faber/internal/image"
)

func newImageCommand(std *IO) *cobra.Command {
	var binary, bundle string
	cmd := &cobra.Command{
		Use:   "image",
		Short: "The worker's container image, built without Docker",
		Long: `The worker's image holds one static binary, a CA bundle and a user that is not
root. It is built here and needs no container engine.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&binary, "binary", "", "static Linux binary of faber (default: this program)")
	cmd.PersistentFlags().StringVar(&bundle, "ca-bundle", "", "PEM file of CA certificates (default: this machine's)")
	build := func() (v1.Image, error) {
		w := image.Worker{Binary: binary, CABundle: bundle}
		if w.Binary == "" {
			executable, err := os.Executable()
			if err != nil {
				return nil, fmt.Errorf("find this program's file: %w", err)
			}
			w.Binary = executable
		}
		return image.BuildWorker(w)
	}
	cmd.AddCommand(&cobra.Command{
		Use:     "push <name>",
		Short:   "Build the worker's image and push it to a registry",
		Long:    "Builds the worker's image and pushes it, with the credentials that docker login or podman login left. Prints the name with its digest: deploy that.",
		Example: "  faber image push 123456789012.dkr.ecr.eu-west-1.amazonaws.com/faber:1.0.0",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			img, err := build()
			if err != nil {
				return err
			}
			pushed, err := image.Push(cmd.Context(), args[0], img)
			if err != nil {
				return &UserError{Message: err.Error(), Hint: "log in first, e.g.: aws ecr get-login-password | docker login --username AWS --password-stdin <registry>", Err: err}
			}
			fmt.Fprintln(std.Out, pushed)
			return nil
		},
	}, &cobra.Command{
		Use:   "save <name> <file>",
		Short: "Build the worker's image and write it as an archive for docker load",
		Args:  cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			img, err := build()
			if err != nil {
				return err
			}
			return image.SaveArchive(args[0], img, args[1])
		},
	})
	return cmd
}
