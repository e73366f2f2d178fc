//go:build chaos

// Package chaos proves for real that no flow run is lost, doubled or stranded: a
// worker as a program, a real Prefect server, and AWS played by a fake, with
// Prefect's and AWS's fronts between them that spoil, hold and record. What a
// scenario does and what must come of it stands in scenarios/*.json; one runner
// plays them all. What is judged is what the fronts saw and what Prefect's state
// history says, never what the worker says of itself.
package chaos

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// The suite's parts, named by the environment; see the Makefile.
const (
	workerEnv    = "CHAOS_WORKER"         // "faber", "python" or "stub"
	faberEnv     = "FABER"                // the built binary
	prefectEnv   = "FABER_TEST_PREFECT"   // the prefect executable whose server is used, and that flow runs are executed by
	referenceEnv = "FABER_TEST_REFERENCE" // the prefect executable of an environment with prefect-aws: Python's worker
	resultsEnv   = "CHAOS_RESULTS"        // file the verdicts are written to; none: they are only printed
	seedsEnv     = "CHAOS_SEEDS"          // how many seeds each scenario is played with; none: 1
	firstSeedEnv = "CHAOS_FIRST_SEED"     // the first of them; none: 1
	selectEnv    = "CHAOS_SELECTION"      // "seconds/seed": scenarios of so many seconds in all, chosen by the seed; none: all
	tableEnv     = "CHAOS_TABLE"          // file the table of all workers is written to; none: it is not made
	stubEnv      = "CHAOS_BE_STUB"        // set: this process is the submit-only worker
)

// underTest is the worker that this run of the suite is about.
type underTest string

const (
	faber  underTest = "faber"
	python underTest = "python"
	stub   underTest = "stub"
)

// parts are what the suite runs against, found once.
type parts struct {
	worker    underTest
	binary    string // of the worker
	prefect   string
	seeds     []uint64
	scenarios []*scenario
}

// suite is set by TestMain before any test runs, and read-only after.
var suite parts

func TestMain(m *testing.M) {
	if os.Getenv(stubEnv) != "" {
		beStub(os.Args[1:])
	}
	flag.Parse()
	if err := suite.find(); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(2)
	}
	code := m.Run()
	stopServers()
	if err := verdicts.finish(string(suite.worker), os.Getenv(resultsEnv)); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		code = 1
	}
	if table := os.Getenv(tableEnv); table != "" {
		if err := writeTable(table, filepath.Dir(os.Getenv(resultsEnv))); err != nil {
			fmt.Fprintln(os.Stderr, "chaos:", err)
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
	case python:
		p.binary = os.Getenv(referenceEnv)
	case stub:
		p.binary = os.Args[0]
	default:
		return fmt.Errorf("%s is %q: it must be faber, python or stub", workerEnv, p.worker)
	}
	p.prefect = os.Getenv(prefectEnv)
	for _, program := range []*string{&p.binary, &p.prefect} {
		if *program == "" {
			return fmt.Errorf("%s, %s and %s must name the programs; `make chaos` sets them", faberEnv, prefectEnv, referenceEnv)
		}
		full, err := filepath.Abs(*program)
		if err != nil {
			return err
		}
		if _, err := os.Stat(full); err != nil {
			return fmt.Errorf("a program that the suite needs is missing: %w", err)
		}
		*program = full
	}
	first, err := number(firstSeedEnv, 1)
	if err != nil {
		return err
	}
	count, err := number(seedsEnv, 1)
	if err != nil {
		return err
	}
	for i := range count {
		p.seeds = append(p.seeds, first+i)
	}
	if p.scenarios, err = readScenarios(); err != nil {
		return err
	}
	p.scenarios, err = selectScenarios(p.scenarios, os.Getenv(selectEnv))
	return err
}

func number(variable string, standard uint64) (uint64, error) {
	text := os.Getenv(variable)
	if text == "" {
		return standard, nil
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s is %q: it must be a number", variable, text)
	}
	return n, nil
}

func TestChaos(t *testing.T) {
	t.Parallel()
	for _, s := range suite.scenarios {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			for _, seed := range suite.seeds {
				t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { perform(t, s, seed) })
			}
		})
	}
}
