package fakeprefect

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// Log is a log line as a worker sends it.
type Log struct {
	Name      string  `json:"name"`
	Level     int     `json:"level"`
	Message   string  `json:"message"`
	FlowRunID *string `json:"flow_run_id"`
}

// route lists what the API answers. Anything else is 404, as is the worker
// channel: a worker that cannot have it goes on over REST.
func (s *Server) route() {
	for pattern, handle := range map[string]func(r *http.Request) (int, any){
		"GET /api/health":                                              ok(true),
		"GET /api/admin/version":                                       ok("3.8.8"),
		"GET /api/csrf-token":                                          noCSRF,
		"POST /api/logs/":                                              s.takeLogs,
		"GET /api/work_pools/{name}":                                   s.readPool,
		"POST /api/work_pools/{$}":                                     s.createPool,
		"PATCH /api/work_pools/{name}":                                 s.updatePool,
		"POST /api/work_pools/{name}/workers/heartbeat":                s.heartbeat,
		"POST /api/work_pools/{name}/workers/filter":                   s.filterWorkers,
		"POST /api/work_pools/{name}/queues/filter":                    s.filterQueues,
		"POST /api/work_pools/{name}/get_scheduled_flow_runs":          s.scheduledRuns,
		"GET /api/flows/{id}":                                          s.readFlow,
		"GET /api/deployments/{id}":                                    s.readDeployment,
		"GET /api/flow_runs/{id}":                                      s.readRun,
		"PATCH /api/flow_runs/{id}":                                    s.updateRun,
		"PATCH /api/flow_runs/{id}/labels":                             s.labelRun,
		"POST /api/flow_runs/{id}/set_state":                           s.setState,
		"POST /api/flow_runs/filter":                                   s.filterRuns,
		"GET /api/flow_run_states/":                                    s.runStates,
		"GET /api/block_documents/{id}":                                s.readBlock,
		"GET /api/block_types/slug/{slug}/block_documents/name/{name}": s.readBlockByName,
		"GET /api/variables/name/{name}":                               s.readVariable,
	} {
		s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			s.mu.Lock()
			status, body := handle(r)
			data, err := json.Marshal(body)
			s.mu.Unlock()
			if err != nil {
				status, data = http.StatusInternalServerError, []byte(`{"detail":"the fake cannot write its answer"}`)
			}
			if status == http.StatusNoContent {
				w.WriteHeader(status)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write(data)
		})
	}
}

func ok(body any) func(*http.Request) (int, any) {
	return func(*http.Request) (int, any) { return http.StatusOK, body }
}

func detail(status int, text string) (int, any) { return status, map[string]string{"detail": text} }

func noCSRF(*http.Request) (int, any) {
	return detail(http.StatusUnprocessableEntity, "CSRF protection is disabled.")
}

// read decodes a body. What a client sends that is no JSON is its own mistake.
func read(r *http.Request, into any) error { return json.NewDecoder(r.Body).Decode(into) }

func malformed(err error) (int, any) { return detail(http.StatusUnprocessableEntity, err.Error()) }

func (s *Server) takeLogs(r *http.Request) (int, any) {
	var lines []Log
	if err := read(r, &lines); err != nil {
		return malformed(err)
	}
	if !s.forgetful {
		s.logs = append(s.logs, lines...)
	}
	return http.StatusCreated, nil
}

func (s *Server) noPool(name string) (int, any) {
	return detail(http.StatusNotFound, `Work pool "`+name+`" not found.`)
}

func (s *Server) readPool(r *http.Request) (int, any) {
	pool := s.pool(r.PathValue("name"))
	if pool == nil {
		return s.noPool(r.PathValue("name"))
	}
	return http.StatusOK, pool
}

func (s *Server) createPool(r *http.Request) (int, any) {
	var pool Pool
	if err := read(r, &pool); err != nil {
		return malformed(err)
	}
	if s.pool(pool.Name) != nil {
		return detail(http.StatusConflict, "A work pool with this name already exists.")
	}
	return http.StatusCreated, s.addPool(pool)
}

func (s *Server) updatePool(r *http.Request) (int, any) {
	pool := s.pool(r.PathValue("name"))
	if pool == nil {
		return s.noPool(r.PathValue("name"))
	}
	var change struct {
		BaseJobTemplate json.RawMessage `json:"base_job_template"`
	}
	if err := read(r, &change); err != nil {
		return malformed(err)
	}
	if change.BaseJobTemplate != nil {
		pool.BaseJobTemplate = change.BaseJobTemplate
	}
	return http.StatusNoContent, nil
}

func (s *Server) heartbeat(r *http.Request) (int, any) {
	pool := s.pool(r.PathValue("name"))
	if pool == nil {
		return s.noPool(r.PathValue("name"))
	}
	var beat struct {
		Name     string   `json:"name"`
		Interval *float64 `json:"heartbeat_interval_seconds"`
	}
	if err := read(r, &beat); err != nil {
		return malformed(err)
	}
	pool.Status = "READY"
	for _, known := range s.workers[pool.ID] {
		if known.Name == beat.Name {
			known.LastHeartbeat, known.HeartbeatInterval = s.now(), beat.Interval
			return http.StatusNoContent, nil
		}
	}
	worker := &Worker{Name: beat.Name, WorkPoolID: pool.ID, LastHeartbeat: s.now(), HeartbeatInterval: beat.Interval, Status: "ONLINE"}
	s.stamp(&worker.ID, &worker.Created, &worker.Updated)
	s.workers[pool.ID] = append(s.workers[pool.ID], worker)
	return http.StatusNoContent, nil
}

// page is the part of a list that a filter asks for.
type page struct {
	Limit  *int `json:"limit"`
	Offset int  `json:"offset"`
}

func paged[T any](list []T, p page) []T {
	list = list[min(p.Offset, len(list)):]
	if p.Limit != nil {
		list = list[:min(*p.Limit, len(list))]
	}
	return orEmpty(list)
}

func (s *Server) filterWorkers(r *http.Request) (int, any) {
	pool := s.pool(r.PathValue("name"))
	if pool == nil {
		return s.noPool(r.PathValue("name"))
	}
	var p page
	if err := read(r, &p); err != nil {
		return malformed(err)
	}
	return http.StatusOK, paged(s.workers[pool.ID], p)
}

func (s *Server) filterQueues(r *http.Request) (int, any) {
	pool := s.pool(r.PathValue("name"))
	if pool == nil {
		return s.noPool(r.PathValue("name"))
	}
	var p page
	if err := read(r, &p); err != nil {
		return malformed(err)
	}
	return http.StatusOK, paged([]*Queue{s.queues[pool.ID]}, p)
}

func (s *Server) scheduledRuns(r *http.Request) (int, any) {
	pool := s.pool(r.PathValue("name"))
	if pool == nil {
		return s.noPool(r.PathValue("name"))
	}
	var query struct {
		Before string `json:"scheduled_before"`
		Limit  *int   `json:"limit"`
	}
	if err := read(r, &query); err != nil {
		return malformed(err)
	}
	before, err := parseTime(query.Before)
	if err != nil {
		return malformed(err)
	}
	type scheduled struct {
		WorkPoolID  string  `json:"work_pool_id"`
		WorkQueueID string  `json:"work_queue_id"`
		FlowRun     FlowRun `json:"flow_run"`
	}
	due := []scheduled{}
	for _, run := range s.runs {
		if pool.IsPaused || run.WorkPoolID != pool.ID || run.StateType != "SCHEDULED" || run.NextScheduledStart.After(before) {
			continue
		}
		// The server leaves these out here.
		bare := *run
		bare.State, bare.WorkQueueName, bare.WorkPoolID, bare.WorkPoolName = nil, nil, "", ""
		due = append(due, scheduled{pool.ID, run.WorkQueueID, bare})
	}
	return http.StatusOK, paged(due, page{Limit: query.Limit})
}

// parseTime reads a moment as the server does: with a T or a space.
func parseTime(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		at, err = time.Parse("2006-01-02 15:04:05.999999999Z07:00", text)
	}
	return at, err
}

func (s *Server) readFlow(r *http.Request) (int, any) {
	if flow, known := s.flows[r.PathValue("id")]; known {
		return http.StatusOK, flow
	}
	return detail(http.StatusNotFound, "Flow not found")
}

func (s *Server) readDeployment(r *http.Request) (int, any) {
	if deployment, known := s.deployments[r.PathValue("id")]; known {
		return http.StatusOK, deployment
	}
	return detail(http.StatusNotFound, "Deployment not found")
}

func noRun() (int, any) { return detail(http.StatusNotFound, "Flow run not found") }

func (s *Server) readRun(r *http.Request) (int, any) {
	if run := s.run(r.PathValue("id")); run != nil {
		return http.StatusOK, run
	}
	return noRun()
}

func (s *Server) updateRun(r *http.Request) (int, any) {
	run := s.run(r.PathValue("id"))
	if run == nil {
		return noRun()
	}
	var change map[string]json.RawMessage
	if err := read(r, &change); err != nil {
		return malformed(err)
	}
	if pid, given := change["infrastructure_pid"]; given {
		run.InfrastructurePID = nil
		if err := json.Unmarshal(pid, &run.InfrastructurePID); err != nil {
			return malformed(err)
		}
	}
	return http.StatusNoContent, nil
}

func (s *Server) labelRun(r *http.Request) (int, any) {
	run := s.run(r.PathValue("id"))
	if run == nil {
		return noRun()
	}
	if err := read(r, &run.Labels); err != nil {
		return malformed(err)
	}
	return http.StatusNoContent, nil
}

func (s *Server) setState(r *http.Request) (int, any) {
	run := s.run(r.PathValue("id"))
	if run == nil {
		return noRun()
	}
	var p proposal
	if err := read(r, &p); err != nil {
		return malformed(err)
	}
	if p.State.Type == "" {
		return malformed(errors.New("state.type: Field required"))
	}
	return http.StatusCreated, s.propose(run, p)
}

// filterRuns understands the filter of a worker that looks for open runs of its
// pool, and that of a list of the latest runs. It refuses what it does not understand.
func (s *Server) filterRuns(r *http.Request) (int, any) {
	type anyOf struct {
		Any []string `json:"any_"`
	}
	var filter struct {
		page
		Sort     string `json:"sort"`
		FlowRuns struct {
			State struct {
				Type anyOf `json:"type"`
				Name anyOf `json:"name"`
			} `json:"state"`
			Expected struct {
				Before *time.Time `json:"before_"`
			} `json:"expected_start_time"`
		} `json:"flow_runs"`
		WorkPools struct {
			ID anyOf `json:"id"`
		} `json:"work_pools"`
	}
	decoder := json.NewDecoder(r.Body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&filter); err != nil {
		return malformed(err)
	}
	var found []*FlowRun
	for _, run := range s.runs {
		before := filter.FlowRuns.Expected.Before
		if before != nil && run.ExpectedStart.After(*before) {
			continue
		}
		if matches(filter.FlowRuns.State.Type.Any, run.StateType) && matches(filter.FlowRuns.State.Name.Any, run.StateName) && matches(filter.WorkPools.ID.Any, run.WorkPoolID) {
			found = append(found, run)
		}
	}
	slices.SortFunc(found, func(a, b *FlowRun) int { // ID_DESC, unless another order is asked for
		if filter.Sort == "EXPECTED_START_TIME_DESC" {
			return b.ExpectedStart.Compare(a.ExpectedStart.Time)
		}
		if a.ID > b.ID {
			return -1
		}
		return 1
	})
	return http.StatusOK, paged(found, filter.page)
}

func matches(wanted []string, value string) bool {
	return wanted == nil || slices.Contains(wanted, value)
}

func (s *Server) runStates(r *http.Request) (int, any) {
	return http.StatusOK, orEmpty(s.states[r.URL.Query().Get("flow_run_id")])
}

func (s *Server) readBlock(r *http.Request) (int, any) {
	return s.findBlock(func(b Block) bool { return b.ID == r.PathValue("id") })
}

func (s *Server) readBlockByName(r *http.Request) (int, any) {
	return s.findBlock(func(b Block) bool { return b.TypeSlug == r.PathValue("slug") && b.Name == r.PathValue("name") })
}

func (s *Server) findBlock(is func(Block) bool) (int, any) {
	if i := slices.IndexFunc(s.blocks, is); i >= 0 {
		return http.StatusOK, s.blocks[i]
	}
	return detail(http.StatusNotFound, "Block document not found")
}

func (s *Server) readVariable(r *http.Request) (int, any) {
	if v, known := s.variables[r.PathValue("name")]; known {
		return http.StatusOK, v
	}
	return detail(http.StatusNotFound, "Variable not found.")
}

// swallowEvents is the socket that workers send their events to.
func (s *Server) swallowEvents(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"prefect"}})
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }()
	conn.SetReadLimit(1 << 20)
	var auth struct {
		Type string `json:"type"`
	}
	if err := wsjson.Read(r.Context(), conn, &auth); err != nil || auth.Type != "auth" {
		_ = conn.Close(websocket.StatusPolicyViolation, "Expected 'auth' message")
		return
	}
	if err := wsjson.Write(r.Context(), conn, map[string]string{"type": "auth_success"}); err != nil {
		return
	}
	for {
		var event json.RawMessage
		if err := wsjson.Read(r.Context(), conn, &event); err != nil {
			return
		}
		s.mu.Lock()
		if !s.forgetful {
			s.events = append(s.events, event)
		}
		s.mu.Unlock()
	}
}
