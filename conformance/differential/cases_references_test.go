//go:build conformance

package differential

// referenceCases bring in blocks, variables and the worker's environment.
var referenceCases = []testCase{
	{
		name: "block in env", run: `{"env": {"TOKEN": "{{ prefect.blocks.secret.token }}", "URL": "https://{{ prefect.blocks.secret.token }}@host"}}`,
		blocks: map[string]string{"secret/token": `{"value": "s3cr3t\"'"}`},
	},
	{
		name: "block with fields", run: `{"image": "{{ prefect.blocks.registry.main.host }}/flows", "env": {"PORT": "{{ prefect.blocks.registry.main.port }}", "ON": "{{ prefect.blocks.registry.main.tls.on }}", "TEXT": "p={{ prefect.blocks.registry.main.port }}"}}`,
		blocks: map[string]string{"registry/main": `{"host": "registry.example", "port": 5000, "tls": {"on": true}}`},
	},
	{
		name: "block whole", run: `{"env": "{{ prefect.blocks.json.environment }}"}`,
		blocks: map[string]string{"json/environment": `{"value": {"A": "1", "B": 2}}`},
	},
	{
		name: "block for labels", deployment: `{"labels": {"$ref": {"block_document_id": "<block:json/labels>"}}}`,
		blocks: map[string]string{"json/labels": `{"team": "data"}`},
	},
	{
		name: "variable", run: `{"image": "{{ prefect.variables.image }}", "cpu": "{{ prefect.variables.cpu }}", "env": {"N": "n={{ prefect.variables.cpu }}", "LIST": "{{ prefect.variables.list }}", "TXT": "x{{ prefect.variables.list }}y"}}`,
		variables: map[string]string{"image": `"flows:1"`, "cpu": `512`, "list": `[1, "a", null]`},
	},
	{name: "variable that is not there", run: `{"env": {"ALONE": "{{ prefect.variables.nope }}", "TEXT": "a{{ prefect.variables.nope }}b"}}`},
	{
		name: "variable of each kind", run: `{"env": {"T": "{{ prefect.variables.t }}", "N": "{{ prefect.variables.n }}", "F": "{{ prefect.variables.f }}", "M": "{{ prefect.variables.m }}", "TT": "={{ prefect.variables.t }}", "NN": "={{ prefect.variables.n }}", "FF": "={{ prefect.variables.f }}", "MM": "={{ prefect.variables.m }}"}}`,
		variables: map[string]string{"t": `true`, "n": `null`, "f": `1.50`, "m": `{"k": "it's"}`},
	},
	{name: "worker's environment", template: templateWith(`"env": {"FROM": "{{ $DIFFERENTIAL_SECRET }}", "MISSING": "{{ $DIFFERENTIAL_NOT_SET }}", "MIXED": "<{{ $DIFFERENTIAL_SECRET }}>"}`)},
	{name: "worker's environment in a value", run: `{"env": {"FROM": "{{ $DIFFERENTIAL_SECRET }}"}}`},
	{name: "placeholder in a value", run: `{"image": "{{ family }}", "family": "f", "env": {"A": "{{ image }} {{ nothing }}"}}`},
	{name: "context in a value", run: `{"env": {"A": "{{ ctx.flow.name }}"}, "labels": {"x": "{{ ctx.flow_run.id }}"}}`},
	{
		name: "one block many times", run: `{"env": {"A": "{{ prefect.blocks.secret.x }}", "B": "{{ prefect.blocks.secret.x.value }}", "C": "{{prefect.blocks.secret.x}}-{{ prefect.blocks.secret.x }}"}}`,
		blocks: map[string]string{"secret/x": `{"value": "v"}`},
	},
}

// settingCases are about the worker's own settings, which the run gets.
var settingCases = []testCase{
	{name: "setting of a key", env: map[string]string{"PREFECT_API_KEY": "pnu_0123456789abcdef"}},
	{name: "setting of an auth string", env: map[string]string{"PREFECT_API_AUTH_STRING": "admin:it's \"secret\""}},
	{name: "settings of many kinds", env: map[string]string{
		"PREFECT_LOGGING_LEVEL": "debug", "PREFECT_WORKER_PREFETCH_SECONDS": "20", "PREFECT_CLIENT_MAX_RETRIES": "3",
		"PREFECT_CLIENT_RETRY_JITTER_FACTOR": "0.50", "PREFECT_CLIENT_RETRY_EXTRA_CODES": "504,500", "PREFECT_API_ENABLE_HTTP2": "false",
		"PREFECT_WORKER_HEARTBEAT_SECONDS": "30", "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "1",
		"PREFECT_CLIENT_CUSTOM_HEADERS": `{"X-Team": "data"}`, "PREFECT_LOGGING_EXTRA_LOGGERS": "b,a", "PREFECT_NOT_A_SETTING": "x", "PREFECT_UI_URL": "",
	}},
	{name: "setting under an old name", env: map[string]string{"PREFECT_LOGGING_SERVER_LEVEL": "ERROR", "PREFECT_SERVER_LOGGING_LEVEL": "INFO", "PREFECT_TASK_SCHEDULING_MAX_SCHEDULED_QUEUE_SIZE": "5"}},
	{name: "no templating of logs", env: map[string]string{"PREFECT_LOGGING_TO_API_ENABLED": "false"}},
}
