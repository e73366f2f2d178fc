//go:build conformance

package conformance

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// The suite's parts, named by the environment; see the Makefile.
const (
	workerEnv   = "CONFORMANCE_WORKER"    // "faber" or "python"
	faberEnv    = "FABER"                 // the built binary
	prefectEnv  = "FABER_TEST_PREFECT"    // the prefect executable whose server is used, and that flow runs are executed by
	referenceEv = "FABER_TEST_REFERENCE"  // the prefect executable of an environment with prefect-aws: Python's worker
	resultsEnv  = "CONFORMANCE_RESULTS"   // file the verdicts are written to; none: they are only printed
	besideEnv   = "CONFORMANCE_BESIDE"    // verdicts of the other worker, for the table of both
	tableEnv    = "CONFORMANCE_TABLE"     // file the table of both workers is written to; none: it is not made
	selectEnv   = "CONFORMANCE_SELECTION" // "share/seed": a share of the items in thousandths, chosen by the seed; none: all
)

// underTest is the worker that this run of the suite is about.
type underTest string

const (
	faber  underTest = "faber"
	python underTest = "python"
)

// parts are what the suite runs against, found once.
type parts struct {
	worker    underTest
	binary    string // of the worker
	prefect   string
	selection *selection
}

// suite is set by TestMain before any test runs, and read-only after.
var suite parts

func TestMain(m *testing.M) {
	flag.Parse()
	if err := suite.find(); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(2)
	}
	code := m.Run()
	stopServers()
	if err := verdicts.finish(string(suite.worker), os.Getenv(resultsEnv)); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		code = 1
	}
	if table := os.Getenv(tableEnv); table != "" {
		if err := writeTable(table, os.Getenv(besideEnv), os.Getenv(resultsEnv)); err != nil {
			fmt.Fprintln(os.Stderr, "conformance:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func (p *parts) find() error {
	p.worker = underTest(os.Getenv(workerEnv))
	switch p.worker {
	case "", faber:
		p.worker, p.binary = faber, os.Getenv(faberEnv)
		if p.binary == "" {
			return fmt.Errorf("%s must name the faber binary; `make conformance` sets it", faberEnv)
		}
	case python:
		p.binary = os.Getenv(referenceEv)
		if p.binary == "" {
			return fmt.Errorf("%s must name a prefect executable with prefect-aws; `make compare` sets it", referenceEv)
		}
	default:
		return fmt.Errorf("%s is %q: it must be faber or python", workerEnv, p.worker)
	}
	p.prefect = os.Getenv(prefectEnv)
	for _, program := range []*string{&p.binary, &p.prefect} {
		full, err := filepath.Abs(*program)
		if err != nil {
			return err
		}
		if _, err := os.Stat(full); err != nil {
			return fmt.Errorf("a program that the suite needs is missing: %w", err)
		}
		*program = full
	}
	var err error
	p.selection, err = parseSelection(os.Getenv(selectEnv))
	return err
}
