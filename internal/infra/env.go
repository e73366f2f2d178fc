package infra

import (
	"os"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-exec/tfexec"
)

const (
	cliConfigVar = "TF_CLI_CONFIG_FILE"
	// PluginDirVar names a directory with providers, laid out as a filesystem
	// mirror, to take them from instead of the registry.
	PluginDirVar = "FABER_TF_PLUGIN_DIR"
)

// childEnv is the environment that terraform runs with. Variables of Terraform
// that would change what a command does, TF_VAR_ and TF_CLI_ARGS_ among them,
// are left out: the plan has to come from what this package was given.
func childEnv(environ []string) map[string]string { return tfexec.CleanEnv(environMap(environ)) }

func environMap(environ []string) map[string]string {
	env := map[string]string{}
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok && name != "" {
			env[name] = value
		}
	}
	// Terraform warns on every command about a file that is not there, and the
	// warning would stand in front of what matters.
	if file := env[cliConfigVar]; file != "" {
		if _, err := os.Stat(file); err != nil {
			delete(env, cliConfigVar)
		}
	}
	env["CHECKPOINT_DISABLE"] = "1" // nobody asked for news about new versions
	return env
}

// userEnv is the environment of a terraform that the user could have typed: all
// of it is handed on. Nobody is there to answer terraform itself, since its output
// is read by faber.
func userEnv(environ []string) map[string]string {
	env := environMap(environ)
	env["TF_INPUT"] = "0"
	if env["TF_IN_AUTOMATION"] == "" {
		env["TF_IN_AUTOMATION"] = "1" // no advice on what to type next: faber gives it
	}
	return env
}

func environSlice(env map[string]string) []string {
	out := make([]string, 0, len(env))
	for name, value := range env {
		out = append(out, name+"="+value)
	}
	slices.Sort(out)
	return out
}

// lookup returns the last value of a variable, as a process would see it.
func lookup(environ []string, name string) string {
	for _, entry := range slices.Backward(environ) {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}
