package process

import (
	"fmt"

	"faber/internal/launch"
)

// explanation is what Prefect says of an exit code, and what to do about it.
// The messages are Prefect's own: people and automations search for them.
type explanation struct {
	message string
	hint    string
}

const (
	seeMemory = "Give the run more memory or let the flow use less."
	seeLogs   = "Check the flow run logs and infrastructure logs for more details."
)

var explanations = map[int]explanation{
	0: {"Process exited cleanly.", ""},
	-9: {
		"Process exited due to a SIGKILL signal. Typically caused by the operating system terminating the process for exceeding memory limits, or by manual cancellation.",
		"If nobody cancelled the run, give the worker's machine more memory or let the flow use less.",
	},
	-15: {
		"Process exited due to a SIGTERM signal. Typically caused by graceful shutdown or manual cancellation.",
		"If nobody cancelled the run, look for what stopped the worker or its machine.",
	},
	1: {
		"Process exited with a general error.",
		"Read the last lines of output in the flow run's logs; often the flow's code or its dependencies could not be loaded.",
	},
	125: {
		"Container failed to run (Docker/OCI exit code 125).",
		"Check the image and the options that the command gives to the container engine.",
	},
	126: {
		"Command found but not executable (permission denied).",
		"Make the command executable for the user the worker runs as.",
	},
	127: {"Command not found.", "Check the command of the job variables and the PATH of the flow run."},
	137: {"Process was killed, likely due to an out-of-memory (OOM) condition.", seeMemory},
	143: {
		"Process received SIGTERM via the container runtime. This is the containerized equivalent of exit code -15.",
		"If nobody cancelled the run, look for what stopped the container.",
	},
	247: {"Process was terminated due to high memory usage.", seeMemory},
}

// Explain says what an exit code means and what to do about it.
func (l *Launcher) Explain(code int) (meaning, hint string) {
	e := explain(code)
	return e.message, e.hint
}

func explain(code int) explanation {
	if e, known := explanations[code]; known {
		return e
	}
	return explanation{"Process exited with an unexpected status code.", seeLogs}
}

// exitOf judges how a child ended. code is nil when the system did not say.
func exitOf(code *int, stopped bool) launch.Exit {
	if code == nil {
		return launch.Exit{
			Kind: launch.ExitUnknown, Message: "Process ended and its status could not be read.",
			Hint: seeLogs,
		}
	}
	e := explain(*code)
	exit := launch.Exit{Kind: launch.ExitNonZero, Code: code, Hint: e.hint}
	switch {
	case *code == 0:
		exit.Kind, exit.Message = launch.ExitClean, e.message
		return exit
	case stopped:
		exit.Kind = launch.ExitStopped
	}
	exit.Message = fmt.Sprintf("Process exited with status code: %d. %s", *code, e.message)
	return exit
}
