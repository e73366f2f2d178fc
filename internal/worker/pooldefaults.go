package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"faber/internal/jobtemplate"
	"faber/internal/prefect"
)

// poolDefaults is what a worker has to do about its pool's defaults. It is the sync
// loop's alone.
type poolDefaults struct {
	values json.RawMessage // nil: nothing to do
	done   bool
}

// withPoolDefaults is a template with the defaults that the worker was told to give its
// pool.
func withPoolDefaults(template, defaults json.RawMessage) (json.RawMessage, error) {
	if defaults == nil {
		return template, nil
	}
	set, missing, err := jobtemplate.SetDefaults(template, defaults)
	if err != nil {
		return nil, fmt.Errorf("set the work pool's defaults: %w", err)
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("set the work pool's defaults: the base job template has no variable %s", strings.Join(missing, ", "))
	}
	return set, nil
}

// setPoolDefaults gives the pool its defaults before the first flow run is polled. What
// may pass is tried again, and again; what will not is told, and the pool is served as
// it is. firstSync is called once it is known that this takes longer.
func (w *Worker) setPoolDefaults(ctx context.Context, firstSync func()) {
	for ctx.Err() == nil {
		err := w.tryPoolDefaults(ctx)
		if ctx.Err() != nil || !prefect.IsTransient(err) {
			return
		}
		w.round(syncLoopName, w.opts.Heartbeat, err, "")
		firstSync()
		w.rest(syncLoopName, w.opts.Heartbeat, startRetry)
		if !pause(ctx, startRetry) {
			return
		}
	}
}

// tryPoolDefaults reads the pool and sets the defaults of those of its variables whose
// defaults are others. Nothing else of it is touched, and nothing is written when all is
// in place: several workers that do this at once all write the same. A pool that does
// not exist yet, or that nobody has set up, gets them with its template.
func (w *Worker) tryPoolDefaults(ctx context.Context) error {
	if w.defaults.values == nil || w.defaults.done {
		return nil
	}
	pool, err := w.api.ReadWorkPool(ctx, w.opts.Pool)
	if errors.Is(err, prefect.ErrNotFound) || err == nil && !pool.IsSetUp() {
		return nil
	}
	if err == nil {
		err = w.giveDefaults(ctx, pool)
	}
	if err != nil && prefect.IsTransient(err) {
		return fmt.Errorf("set the defaults of work pool %s: %w", w.opts.Pool, err)
	}
	w.defaults.done = true
	if err != nil {
		w.log.Error(fmt.Sprintf("The defaults of work pool '%s' could not be set; it is served as it is.", w.opts.Pool),
			"error", err, "hint", "set the Terraform output base_job_template on the pool by hand, or let the worker's API key change work pools and start it again")
	}
	return nil
}

func (w *Worker) giveDefaults(ctx context.Context, pool prefect.WorkPool) error {
	if pool.Type != w.launcher.Type() {
		return fmt.Errorf("the pool is of type %s, the defaults are for one of type %s", pool.Type, w.launcher.Type())
	}
	begun := time.Now()
	template, missing, err := jobtemplate.SetDefaults(pool.BaseJobTemplate, w.defaults.values)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		w.log.Warn(fmt.Sprintf("The base job template of work pool '%s' has no variable %s: their defaults are not set.", w.opts.Pool, strings.Join(missing, ", ")))
	}
	if string(template) == string(pool.BaseJobTemplate) {
		w.log.Info(fmt.Sprintf("Work pool '%s' has its defaults already.", w.opts.Pool))
		return nil
	}
	if err := w.api.SetBaseJobTemplate(ctx, w.opts.Pool, template); err != nil {
		return err
	}
	w.log.Info(fmt.Sprintf("Work pool '%s' was given its defaults.", w.opts.Pool), "took", time.Since(begun).Round(time.Millisecond))
	return nil
}
