package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"faber/internal/config"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const workerConfigHelp = `
Shows every setting that a worker started here would obey: its value, secrets
masked, and where it comes from. It calls nobody.

It takes the flags of 'faber worker start', and the FABER_* variables count, so
that the line which starts a worker can be looked at with 'config' in place of
'start'. Settings that only flow runs inherit, settings of Prefect's worker that
are of no effect here, and names that nobody reads (misspelt ones, most likely)
are listed at the end. Exit code 2 means that a worker would not start with this.`

func newWorkerConfigCommand(std *IO, f *workerFlags) *cobra.Command {
	var (
		output string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show the settings that a worker would obey, and where they come from",
		Long:  strings.TrimSpace(workerConfigHelp),
		Example: `  faber worker config
  faber --profile staging worker config --pool my-pool --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return usageError("use text or json", "unknown --output %q", output)
			}
			view, err := viewConfig(std, cmd.Flags(), f)
			if asJSON || output == "json" {
				writeErr := view.writeJSON(std.Out)
				if err == nil {
					err = writeErr
				}
				return err
			}
			view.write(std)
			return err
		},
	}
	f.addStartFlags(cmd.Flags())
	cmd.Flags().StringVarP(&output, "output", "o", "text", "`form` of the list: text or json")
	cmd.Flags().BoolVar(&asJSON, "json", false, "the same as --output json")
	return cmd
}

// configView is what `faber worker config` shows. Its JSON is an interface:
// fields may be added, and none is renamed or left out.
type configView struct {
	Options     []configRow     `json:"options"`
	Settings    []configRow     `json:"settings"`
	Environment []configRow     `json:"environment"`
	Warnings    []string        `json:"warnings"`
	Unknown     []configUnknown `json:"unknown"`
	Problems    []string        `json:"problems"`
}

// configRow is one setting. Value is "" when there is none.
type configRow struct {
	Name    string       `json:"name"`
	Value   string       `json:"value"`
	Default string       `json:"default"`
	Source  configSource `json:"source"`
	Use     string       `json:"use"` // "worker", "flow runs" or "not used"
	Note    string       `json:"note"`
	group   string
}

// configSource is where a value came from: its kind, the file, and the name it
// has there when that is another one than the setting's.
type configSource struct {
	Kind string `json:"kind"`
	Path string `json:"path"`
	Name string `json:"name"`
}

// brief is the source in one phrase, with the file as short as it goes.
func (s configSource) brief(std *IO) string {
	path := s.Path
	if home := std.env("HOME"); home != "" && strings.HasPrefix(path, home+string(filepath.Separator)) {
		path = "~" + strings.TrimPrefix(path, home)
	}
	if rest, ok := strings.CutPrefix(s.Path, std.Dir+string(filepath.Separator)); ok {
		path = "." + string(filepath.Separator) + rest
	}
	text := strings.TrimSpace(s.Kind + " " + path)
	if strings.HasSuffix(s.Path, ".env") || filepath.Base(s.Path) == s.Kind {
		text = path // the file's name says the kind
	}
	if s.Name != "" {
		text += " (" + s.Name + ")"
	}
	return text
}

type configUnknown struct {
	Name    string       `json:"name"`
	Source  configSource `json:"source"`
	Nearest string       `json:"nearest"` // the known name that may be meant
}

// viewConfig reads everything that a worker would. The view is whole even
// beside an error.
func viewConfig(std *IO, flags *pflag.FlagSet, f *workerFlags) (*configView, error) {
	problem := f.fillFromEnv(std, flags)
	if problem == nil {
		problem = f.check()
	}
	settings, err := config.Inspect(lookup(std, f.profile))
	if err == nil {
		_, err = settings.TLS()
	}
	view := &configView{
		Options: optionRows(flags, f, settings), Settings: []configRow{}, Environment: environmentRows(std),
		Warnings: slices.Concat([]string{}, settings.Warnings(), startWarnings(std, f, settings)), Unknown: []configUnknown{}, Problems: []string{},
	}
	for _, row := range settings.Rows() {
		source := configSource{row.Source.Kind, row.Source.Where, row.Source.As}
		if flag := overriding(row.Name); flag != "" && flags.Changed(flag) {
			row.Note = "--" + flag + " takes its place"
		}
		view.Settings = append(view.Settings, configRow{row.Name, row.Value, row.Default, source, string(row.Use), row.Note, row.Group})
	}
	for _, unknown := range unknownNames(std, settings) {
		source := configSource{unknown.Source.Kind, unknown.Source.Where, unknown.Source.As}
		view.Unknown = append(view.Unknown, configUnknown{unknown.Name, source, unknown.Nearest})
	}
	if problem != nil {
		view.Problems = append(view.Problems, problem.Error())
	}
	if err != nil {
		view.Problems = append(view.Problems, strings.Split(err.Error(), "\n")...)
		problem = settingsProblem(err, problem)
	}
	return view, problem
}

// Settings that a flag takes the place of.
const (
	prefetchSetting = "PREFECT_WORKER_PREFETCH_SECONDS"
	queueSetting    = "PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_SQS_QUEUE_NAME"
)

func overriding(setting string) (flag string) {
	switch setting {
	case prefetchSetting:
		return "prefetch-seconds"
	case queueSetting:
		return "events-queue"
	}
	return ""
}

// optionRows are the flags, and what takes their place.
func optionRows(flags *pflag.FlagSet, f *workerFlags, settings *config.Settings) []configRow {
	rows := []configRow{}
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Hidden || slices.Contains([]string{"help", "output", "json", "profile", "prompt"}, flag.Name) {
			return
		}
		row := configRow{Name: "--" + flag.Name, Value: flag.Value.String(), Default: flag.DefValue, Use: string(config.UseWorker), group: "Options of faber worker start"}
		row.Source = configSource{Kind: "default"}
		from := ""
		switch variable := f.variables[flag.Name]; {
		case variable != "":
			row.Source = configSource{Kind: "env", Name: variable}
		case flag.Changed:
			row.Source.Kind = "flag"
		case flag.Name == "prefetch-seconds":
			row.Value, from = strconv.Itoa(settings.PrefetchSeconds), prefetchSetting
		case flag.Name == "events-queue":
			row.Value, from = settings.ObserverQueueName, queueSetting
		}
		if from != "" && settings.IsSet(from) {
			source := settings.Source(from)
			row.Source = configSource{source.Kind, source.Where, from}
		}
		if flag.Name == "events-queue" && !settings.ObserverEnabled {
			row.Value, row.Note = "", "PREFECT_INTEGRATIONS_AWS_ECS_OBSERVER_ENABLED is false"
		}
		switch {
		case flag.Name == "work-queue":
			row.Value, row.Default = strings.Join(f.queues, ", "), ""
		case flag.Name == "limit" && f.limit == 0:
			row.Note = "no limit"
		}
		rows = append(rows, row)
	})
	return rows
}

// environmentRows are variables that libraries obey, for those that are set.
func environmentRows(std *IO) []configRow {
	rows := []configRow{}
	for _, name := range []string{
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_DIR",
		"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_ENDPOINT_URL",
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
	} {
		value := std.env(name)
		if value == "" {
			continue
		}
		if name == "AWS_SECRET_ACCESS_KEY" || name == "AWS_SESSION_TOKEN" {
			value = config.Secret(value).String()
		}
		rows = append(rows, configRow{
			Name: name, Value: config.WithoutPassword(value), Source: configSource{Kind: "env"}, Use: string(config.UseWorker), group: "Environment",
		})
	}
	return rows
}

func (v *configView) writeJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

// write prints the table. The value comes last: it may be long, and what comes
// before it stays in its column.
func (v *configView) write(std *IO) {
	rows := slices.Concat(v.Options, v.Settings, v.Environment)
	for len(rows) > 0 {
		same := slices.IndexFunc(rows, func(r configRow) bool { return r.group != rows[0].group })
		if same < 0 {
			same = len(rows)
		}
		writeGroup(std, rows[:same])
		rows = rows[same:]
	}
	var unknown []string
	for _, name := range v.Unknown {
		line := fmt.Sprintf("%s (%s)", name.Name, name.Source.brief(std))
		if name.Nearest != "" {
			line += ": did you mean " + name.Nearest + "?"
		}
		unknown = append(unknown, line)
	}
	writeList(std.Out, "Nobody reads these", unknown)
	writeList(std.Out, "Warnings", v.Warnings)
}

func writeGroup(std *IO, rows []configRow) {
	name, source := 0, 0
	for _, row := range rows {
		name, source = max(name, len(row.Name)), max(source, len(row.Source.brief(std)))
	}
	var lines []string
	for _, row := range rows {
		value := row.Value
		if value == "" {
			value = "-"
		}
		idle := row.Use == string(config.UseNone) && row.Source.Kind == "default"
		if row.Note != "" && !idle {
			value += " (" + row.Note + ")"
		}
		lines = append(lines, fmt.Sprintf("%-*s  %-*s  %s", name, row.Name, source, row.Source.brief(std), value))
	}
	writeList(std.Out, rows[0].group, lines)
}

// writeList prints lines below a heading, or nothing when there are none.
func writeList(w io.Writer, heading string, lines []string) {
	if len(lines) > 0 {
		fmt.Fprintf(w, "%s\n  %s\n\n", heading, strings.Join(lines, "\n  "))
	}
}
