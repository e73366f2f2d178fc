//go:build conformance

package differential

import "strings"

// environmentCases are about env: merges, nulls, types.
var environmentCases = []testCase{
	{name: "env of deployment and run", deployment: `{"env": {"A": "d", "B": "d"}}`, run: `{"env": {"B": "r", "C": "r"}}`},
	{name: "env of the run alone", run: `{"env": {"Z": "1", "A": "2"}}`},
	{name: "empty env", deployment: `{"env": {}}`, run: `{"env": {}}`},
	{name: "env of null in the deployment", deployment: `{"env": null}`, run: `{"env": {"A": "1"}}`},
	{name: "env of null in the run", deployment: `{"env": {"A": "1"}}`, run: `{"env": null}`, refused: true},
	{name: "env of null in the run alone", run: `{"env": null}`, refused: true},
	{name: "no variables at all", deployment: `{}`, run: `null`},
	{name: "null takes a variable away", deployment: `{"env": {"A": "d", "B": "d"}}`, run: `{"env": {"A": null}}`},
	{name: "null takes a setting away", run: `{"env": {"PREFECT_HOME": null, "PREFECT__FLOW_NAME": null}}`},
	{name: "env over settings", run: `{"env": {"PREFECT_API_URL": "http://other/api", "PREFECT_LOGGING_LEVEL": "DEBUG", "PREFECT__FLOW_RUN_ID": "x"}}`},
	{name: "env of other types", run: `{"env": {"I": 1, "F": 1.0, "E": 1e3, "G": 1e22, "H": 1e-7, "N": -0.0, "T": true, "L": false, "S": "", "BIG": 123456789012345678901234567890}}`},
	{name: "env of containers", run: `{"env": {"LIST": [1, "two", null, true, 1.5], "MAP": {"a": {"b": "c'd"}, "e": "\""}, "EMPTY": {}, "NONE": []}}`},
	{name: "dotted env", deployment: `{"env": {"A": "plain"}, "env.B": "dotted"}`, run: `{"env.A": "dotted", "env.C": 3}`},
	{name: "dotted env alone", run: `{"env.A": "1", "env.B": null}`},
	{name: "dotted env of the deployment, plain of the run", deployment: `{"env.A": "d", "env.B": "d"}`, run: `{"env": {"A": "r"}}`},
	{name: "dotted env within", run: `{"env.A.B": 1, "env.C": {"d": "e"}}`},
	{name: "dotted names with an index", run: `{"network_configuration.subnets[0]": "subnet-a", "vpc_id": "vpc-1"}`, refused: true},
	{name: "dotted names with a number", run: `{"labels.1": "one", "labels.a-b": "two"}`},
	{name: "dotted names of others", run: `{"labels.team": "data", "network_configuration.subnets": ["subnet-a"], "vpc_id": "vpc-1"}`},
	{name: "env with odd names", run: `{"env": {"with space": "1", "with=sign": "2", "ümlaut": "3", "": "4", "🦊": "5"}}`},
	{name: "env with odd values", run: `{"env": {"QUOTE": "it's \"quoted\"", "BACK": "a\\b", "LINE": "a\nb\r\n\tc", "HTML": "<a href='x'>&amp;</a>", "EMOJI": "🦊👩‍👩‍👧", "RTL": "שלום\u202e", "NUL": "a\u0000b", "SEP": "\u2028\u2029", "BOM": "\ufeffx"}}`},
	{name: "env of 300 characters", run: `{"env": {"` + strings.Repeat("N", 300) + `": "` + strings.Repeat("v", 300) + `"}}`},

	{name: "labels", run: `{"labels": {"team": "data", "cost-center": "1,000"}}`},
	{name: "labels of the deployment alone", deployment: `{"labels": {"a": "d", "b": "d"}}`},
	{name: "labels are not merged", deployment: `{"labels": {"a": "d", "b": "d"}}`, run: `{"labels": {"a": "r"}}`},
	{name: "labels over Prefect's", run: `{"labels": {"prefect.io/flow-name": "other", "prefect.io/version": "0"}}`},
	{name: "labels with odd characters", run: `{"labels": {"my key": "it's (x)", "a,b": "1,000", "naïve": "½", "--a--b__c--": "x & y", "e": "&lt;b&gt;", "plus+at@": "a=b:c/d.e", "six": "&#x41;&#65;", "dash": "a---b", "kanji": "日本x"}}`},
	{name: "label with an empty value", run: `{"labels": {"empty": "", "gone": "日本"}}`},
	{name: "labels that become one", run: `{"labels": {"a b": "1", "a-b": "2"}}`, mended: tagsMend},
	{name: "label of 300 characters", run: `{"labels": {"` + strings.Repeat("k", 300) + `": "` + strings.Repeat("v", 300) + `"}}`, mended: tagsMend},
	{name: "labels of true", run: `{"labels": {"a": true}}`, refused: true},
	{name: "empty labels", run: `{"labels": {}}`},

	{name: "name with context", run: `{"name": "{{ ctx.flow.name }}-{{ ctx.flow_run.name }}"}`},
	{name: "unknown variable", run: `{"no_such_variable": 1, "another": {"a": "b"}}`},
}

// nameCases are about what pools, flows, deployments and runs are called.
var nameCases = []testCase{
	{name: "names with quotes", pool: `it's a "pool"`, flow: `a "flow"`, deploymentName: "it's", runName: "`run`", run: `{"family": "plain"}`},
	{name: "names with emoji", flow: "🦊 flow 👩‍👩‍👧", deploymentName: "🚀", runName: "🦩-flamingo"},
	{name: "pool with emoji", pool: "pool 🦊", mended: familyMend},
	{name: "names of 300 characters", flow: strings.Repeat("f", 300), deploymentName: strings.Repeat("d", 300), runName: strings.Repeat("r", 300), mended: tagsMend},
	{name: "pool of 300 characters", pool: strings.Repeat("p", 300), mended: familyMend},
	{name: "names in other scripts", flow: "naïve Straße ﬁ ½", deploymentName: "日本語", runName: "Ἀθῆναι Ωmega ２"},
	{name: "names with markup", flow: "b; amp; lt;", deploymentName: "a;b #8364;", runName: "<b>&amp; & &lt;</b> &#8364; &copy; {{ x }} {% y %}"},
	{name: "names with blanks", flow: "  a\tb \n c  ", deploymentName: " ", runName: "a b"},
	{name: "names with dashes and commas", flow: "--1,234,567--", deploymentName: "a,1,b 3,4", runName: "x--y___z--"},
	{name: "names with combining characters", flow: "e\u0301\u0323", deploymentName: "\u1E9B\u0323", runName: "a\u0300\u200d\ufe0f"},
	{name: "names like dates", flow: "2026-11-23T05:28:40.343282+00:00", runName: "@=+:./_"},
	{name: "pool with spaces", pool: "my ecs pool", mended: familyMend},
	{name: "family with odd characters", run: `{"family": "My Family/1 (x)"}`, mended: familyMend},
	{name: "family of 300 characters", run: `{"family": "` + strings.Repeat("f", 300) + `"}`, mended: familyMend},
	{name: "deployment updated on the second", updated: "2026-11-23T05:28:40Z"},
	{name: "deployment updated with zeros at the end", updated: "2026-11-23T05:28:40.500000Z"},
	{name: "logs of a pool with spaces", pool: "my ecs pool", run: `{"configure_cloudwatch_logs": true, "execution_role_arn": "r", "family": "plain"}`},
}
