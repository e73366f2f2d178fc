package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"faber/internal/dev"
)

func newDevFaultsCommand(std *IO, flags *devFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "faults",
		Short: "List the faults that the local stack's fronts inject, or clear them",
		Long: strings.TrimSpace(`
Lists the faults that the local stack's fronts inject, with how often each has
struck. 'faber dev up --faults FILE' puts those of a file in their place, and
'faber dev faults clear' takes all away and lets calls go on that are held.`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			layout, err := flags.layout()
			if err != nil {
				return err
			}
			list, err := dev.ListFaults(cmd.Context(), layout)
			if err != nil {
				return err
			}
			return printFaults(std.Out, list)
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "clear",
		Short: "Take all faults, quotas and break-points away",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			layout, err := flags.layout()
			if err != nil {
				return err
			}
			return dev.ClearFaults(cmd.Context(), layout)
		},
	})
	return cmd
}

func printFaults(w io.Writer, list []dev.FrontFault) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no faults")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FRONT\tID\tHITS\tRULE")
	for _, f := range list {
		rule, err := json.Marshal(f.Rule())
		if err != nil {
			return err
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\n", f.Front, f.ID, f.Hits, rule)
	}
	return t.Flush()
}
