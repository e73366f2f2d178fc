package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"faber/internal/jobtemplate"
	"faber/internal/launch"
	"faber/internal/prefect"
)

const (
	syncLoopName = "sync with the work pool"
	// channelPatience is what the worker channel gets to come up before the
	// pool is read over REST.
	channelPatience = 10 * time.Second
	// toldEvery is how often a missing pool is told of, unless somebody set another
	// interval: as often as Prefect's worker does, which beats less often.
	toldEvery = 22 * time.Second
	// startRetry is the interval of REST syncs until the first good one.
	startRetry = 5 * time.Second
)

// errNoPool is a work pool that does not exist and may not be created.
var errNoPool = errors.New("the work pool does not exist")

// poolView is the work pool as it was at one moment. It never changes: a flow
// run keeps the one it started with.
type poolView struct {
	pool     prefect.WorkPool
	template *jobtemplate.Template
	err      error // why there is no template
}

// launchPool names the pool to a launcher that is given a job of it.
func (v *poolView) launchPool() launch.Pool {
	return launch.Pool{ID: v.pool.ID, Name: v.pool.Name}
}

// poolToSearch is the pool with what a job without any variables of its own
// would get: where its infrastructure is to be looked for. There is no answer
// without that: a search in the wrong place finds nothing, and what is not found
// counts as never launched.
func (w *Worker) poolToSearch(ctx context.Context, v *poolView) (launch.Pool, error) {
	pool := v.launchPool()
	if v.err != nil {
		return pool, v.err
	}
	resolved, err := v.template.Resolve(ctx, jobtemplate.Input{Env: w.opts.Env, Source: source{w.api}})
	if err != nil {
		return pool, err
	}
	pool.Configuration = resolved.Configuration
	return pool, nil
}

// tellTemplate shows the launcher the pool's job configuration as it is written.
func (w *Worker) tellTemplate(pool prefect.WorkPool) {
	launcher, ok := w.launcher.(launch.Templated)
	var template struct {
		JobConfiguration map[string]any `json:"job_configuration"`
	}
	if ok && json.Unmarshal(pool.BaseJobTemplate, &template) == nil {
		launcher.SetTemplate(template.JobConfiguration)
	}
}

// setPool takes in a new snapshot of the pool, from the channel or from REST.
func (w *Worker) setPool(pool prefect.WorkPool) {
	view := &poolView{pool: pool}
	view.template, view.err = jobtemplate.Parse(pool.BaseJobTemplate)
	if view.err != nil {
		w.log.Error("The work pool's base job template is malformed; its flow runs will crash until it is corrected.", "error", view.err)
	}
	w.tellTemplate(pool)
	before := w.pool.Swap(view)
	if before != nil && before.pool.ID != pool.ID {
		w.log.Warn(fmt.Sprintf("The work pool '%s' is a new one of the same name.", pool.Name), "id", pool.ID, "before", before.pool.ID)
		select {
		case w.moved <- struct{}{}:
		default:
		}
	}
	if before == nil || before.pool.Type != pool.Type {
		if pool.Type != w.launcher.Type() {
			w.log.Warn(fmt.Sprintf("Worker type mismatch! This worker process expects type '%s' but received '%s' from the server. Unexpected behavior may occur.", w.launcher.Type(), pool.Type))
		}
	}
	paused := pool.IsPaused || pool.Status == "PAUSED"
	switch wasPaused := before != nil && (before.pool.IsPaused || before.pool.Status == "PAUSED"); {
	case paused && !wasPaused:
		w.log.Warn(fmt.Sprintf("The work pool '%s' is currently paused. This worker will not execute any flow runs until the work pool is unpaused.", pool.Name))
	case !paused && wasPaused:
		w.log.Info(fmt.Sprintf("The work pool '%s' is no longer paused.", pool.Name))
		w.pollNow()
	}
	w.syncOnce.Do(func() { close(w.synced) })
}

// runChannelAndSync keeps the worker online and the pool's view fresh until ctx
// ends: by the channel while it is healthy, by REST otherwise. firstSync is called
// after the first round, whatever came of it.
func (w *Worker) runChannelAndSync(ctx context.Context, firstSync func()) {
	var running sync.WaitGroup
	defer running.Wait()
	w.beat(syncLoopName, w.opts.Heartbeat)
	w.setPoolDefaults(ctx, firstSync)
	healthy := func() bool { return false }
	var disabled chan struct{}
	if w.opts.NewChannel != nil {
		channel := w.opts.NewChannel(w.hello(), w.setPool, w.cleanupHandler())
		healthy = channel.Healthy
		disabled = make(chan struct{})
		running.Go(func() {
			defer close(disabled)
			if err := channel.Run(ctx); err != nil {
				w.log.Info("The worker channel is not to be had; heartbeats go over REST.", "reason", err)
			}
		})
		timer := time.NewTimer(channelPatience)
		select {
		case <-channel.Ready():
		case <-disabled:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	w.beat(syncLoopName, w.opts.Heartbeat)
	for ctx.Err() == nil {
		failures := w.syncRound(ctx, healthy())
		firstSync()
		interval := jittered(w.opts.Heartbeat)
		if w.pool.Load() == nil {
			interval = min(startRetry, interval)
		} else if failures >= 3 {
			interval = backoff(failures-2, 2*w.opts.Heartbeat, 10*w.opts.Heartbeat)
		}
		w.rest(syncLoopName, w.opts.Heartbeat, interval)
		timer := time.NewTimer(interval)
		select {
		case <-timer.C:
		case <-disabled:
			disabled = nil // once: from here on the timer alone
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

func (w *Worker) syncRound(ctx context.Context, channelHealthy bool) (failures int) {
	if channelHealthy && w.pool.Load() != nil {
		return w.round(syncLoopName, w.opts.Heartbeat, nil, "over the worker channel")
	}
	err := w.syncOverREST(ctx)
	if err != nil && ctx.Err() != nil {
		return 0
	}
	if errors.Is(err, errNoPool) {
		// Nothing fails: the pool is to come. It is looked for often, and told as
		// often as Prefect's worker tells it.
		every := toldEvery
		if w.opts.Heartbeat != DefaultHeartbeat {
			every = w.opts.Heartbeat * 3 / 4 // the shortest interval there is
		}
		if time.Since(w.toldNoPool) >= every {
			w.toldNoPool = time.Now()
			w.log.Warn(fmt.Sprintf("Work pool '%s' not found!", w.opts.Pool))
		}
		return w.round(syncLoopName, w.opts.Heartbeat, nil, "the work pool does not exist")
	}
	if err != nil && w.pool.Load() == nil && prefect.IsTransient(err) {
		err = fmt.Errorf("unable to reach the Prefect API while starting up; the worker will keep attempting to connect: %w", err)
	}
	return w.round(syncLoopName, w.opts.Heartbeat, err, "over REST")
}

// hello is what the worker says of itself on the channel. Cleanups are asked
// for where infrastructure lives on without the worker.
func (w *Worker) hello() prefect.Hello {
	h := prefect.Hello{
		WorkerName: w.name, WorkerType: w.launcher.Type(), Pool: w.opts.Pool, Queues: w.opts.Queues,
		Interval: w.opts.Heartbeat, CreatePool: w.opts.CreatePool, DefaultTemplate: w.opts.BaseJobTemplate,
		Integrations: w.integrations(),
	}
	if w.cleansUp() {
		h.HandledCleanup, h.MaxCleanup = []string{cancellingTeardown}, 1
	}
	return h
}

// integrations are what the server lists beside the worker: for Prefect's own, the
// packages that it is made of.
func (w *Worker) integrations() []prefect.Integration {
	return []prefect.Integration{{Name: "faber", Version: w.opts.Version}}
}

// syncOverREST reads the pool, sets it up if need be, and heartbeats.
func (w *Worker) syncOverREST(ctx context.Context) error {
	if err := w.tryPoolDefaults(ctx); err != nil {
		return err
	}
	pool, err := w.api.ReadWorkPool(ctx, w.opts.Pool)
	switch {
	case errors.Is(err, prefect.ErrNotFound) && !w.opts.CreatePool:
		return errNoPool
	case errors.Is(err, prefect.ErrNotFound):
		if pool, err = w.createPool(ctx); err != nil {
			return err
		}
	case err != nil:
		return fmt.Errorf("read work pool %s: %w", w.opts.Pool, err)
	}
	if !pool.IsSetUp() {
		if err := w.api.SetBaseJobTemplate(ctx, w.opts.Pool, w.opts.BaseJobTemplate); err != nil {
			return fmt.Errorf("give work pool %s its base job template: %w", w.opts.Pool, err)
		}
		if pool, err = w.api.ReadWorkPool(ctx, w.opts.Pool); err != nil {
			return fmt.Errorf("read work pool %s: %w", w.opts.Pool, err)
		}
	}
	w.setPool(pool)
	if err := w.api.Heartbeat(ctx, w.opts.Pool, w.name, w.opts.Heartbeat, w.integrations()); err != nil {
		return fmt.Errorf("heartbeat: %w", err)
	}
	return nil
}

func (w *Worker) createPool(ctx context.Context) (prefect.WorkPool, error) {
	pool, err := w.api.CreateWorkPool(ctx, w.opts.Pool, w.launcher.Type(), w.opts.BaseJobTemplate)
	var status *prefect.StatusError
	if errors.As(err, &status) && status.Code == http.StatusConflict {
		return w.api.ReadWorkPool(ctx, w.opts.Pool) // somebody was faster
	}
	if err != nil {
		return pool, fmt.Errorf("create work pool %s: %w", w.opts.Pool, err)
	}
	w.log.Info(fmt.Sprintf("Work pool '%s' created.", w.opts.Pool))
	return pool, nil
}
