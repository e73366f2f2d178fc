package infra

import (
	"fmt"
	"strings"
)

// ModuleDir is where a root module of ours keeps the faber module.
const ModuleDir = "modules/faber"

// Auth is how a Prefect API knows who asks.
type Auth string

// Ways to authenticate.
const (
	AuthKey        Auth = "api-key"     // Prefect Cloud's
	AuthAuthString Auth = "auth-string" // basic auth of a self-hosted server
	AuthNone       Auth = "none"
)

// Root is what a root module says that calls the faber module.
type Root struct {
	Name     string
	Region   string
	WorkPool string
	Image    string

	APIURL      string // of a self-hosted Prefect; "" means Prefect Cloud
	CloudAPIURL string // "" means the one that everybody uses
	Auth        Auth

	VPCID     string // "" makes a VPC
	SubnetIDs []string
	NATMode   string

	Architecture string
	DesiredCount int
	FlowRunImage string
	AlarmEmails  []string

	Source      string // of the module; "" means ModuleDir, beside the root
	StateBucket string // S3 bucket for the state; "" keeps it in the folder
}

// File is a file to be written, by its name in the folder.
type File struct {
	Name string
	Text string
}

// Files are the files of the root module, in the form of terraform fmt: such as
// somebody would write by hand who knows the module.
func (r Root) Files() []File {
	return []File{
		{"versions.tf", r.versions()},
		{"main.tf", r.main()},
		{"variables.tf", r.variables()},
		{"outputs.tf", r.outputs()},
		{"terraform.tfvars", r.values()},
		{".gitignore", ignored},
	}
}

const ignored = `# What terraform and faber keep here for themselves. .terraform.lock.hcl is not
# among it: committed, it makes everybody use the same provider.
.terraform/
*.tfstate
*.tfstate.*
*.tfplan
.faber.lock
crash.log
`

func (r Root) versions() string {
	var h hcl
	h.open("terraform")
	h.attrs(attr{"required_version", `">= 1.11"`})
	h.blank()
	h.open("required_providers")
	h.open("aws =")
	h.attrs(attr{"source", `"hashicorp/aws"`}, attr{"version", `"~> 5.100"`})
	h.close()
	h.close()
	if r.StateBucket != "" {
		h.blank()
		h.comment("The bucket has to be there before 'terraform init'. The lock is a file beside the state.")
		h.open(`backend "s3"`)
		h.attrs(
			attr{"bucket", quoted(r.StateBucket)}, attr{"key", quoted(r.Name + "/terraform.tfstate")}, attr{"region", quoted(r.Region)},
			attr{"encrypt", "true"}, attr{"use_lockfile", "true"},
		)
		h.close()
	}
	h.close()
	return h.String()
}

func (r Root) main() string {
	var h hcl
	h.comment("Credentials come from where the AWS CLI takes them: environment, profile or role.")
	h.open(`provider "aws"`)
	h.attrs(attr{"region", "var.region"})
	h.close()
	h.blank()
	h.open(`module "faber"`)
	if r.Source == "" {
		h.comment("The module as this faber brings it, to be committed with the rest: a plan made elsewhere is then the same.")
		h.comment("'faber init --upgrade-module' lays out that of a later faber.")
		h.attrs(attr{"source", quoted("./" + ModuleDir)})
	} else {
		h.attrs(attr{"source", quoted(r.Source)})
	}
	h.blank()
	h.attrs(attr{"name", "var.name"}, attr{"tags", "var.tags"})
	h.blank()
	h.attrs(r.prefect()...)
	if r.Auth != AuthNone {
		h.blank()
		h.comment("False until the secret has its value, which is not Terraform's to know. 'faber apply' asks for it, puts it in,")
		h.comment("and sets this in terraform.tfvars; by hand it is 'faber secret put' and an apply.")
		h.attrs(attr{"secret_value_ready", "var.secret_value_ready"})
	}
	h.blank()
	if r.VPCID != "" {
		h.attrs(attr{"create_vpc", "false"}, attr{"vpc_id", "var.vpc_id"}, attr{"private_subnet_ids", "var.private_subnet_ids"})
	} else {
		h.attrs(attr{"az_count", "var.az_count"}, attr{"nat_mode", "var.nat_mode"})
	}
	h.blank()
	h.attrs(attr{"image", "var.image"}, attr{"cpu_architecture", "var.cpu_architecture"}, attr{"desired_count", "var.desired_count"})
	h.blank()
	h.attrs(attr{"flow_run_image", "var.flow_run_image"})
	h.blank()
	h.comment("Each address gets a mail first, with a link to click.")
	h.attrs(attr{"alarm_emails", "var.alarm_emails"})
	h.close()
	return h.String()
}

// prefect are the module's inputs about the Prefect API.
func (r Root) prefect() []attr {
	attrs := []attr{{"work_pool_name", "var.work_pool_name"}}
	if r.APIURL != "" {
		attrs = append(attrs, attr{"prefect_api_url", "var.prefect_api_url"})
	}
	if r.CloudAPIURL != "" {
		attrs = append(attrs, attr{"prefect_cloud_api_url", quoted(r.CloudAPIURL)})
	}
	switch r.Auth {
	case AuthAuthString:
		attrs = append(attrs, attr{"prefect_secret_keys", `["PREFECT_API_AUTH_STRING"]`})
	case AuthNone:
		attrs = append(attrs, attr{"create_secret", "false"})
	case AuthKey: // the module's default
	}
	return attrs
}

// variable is one input of the root module and its value.
type variable struct {
	name, description, kind string
	standard                string // "" when there is none
	value                   string // for terraform.tfvars; "" leaves it out
	comment                 string
}

func (r Root) inputs() []variable {
	list := []variable{
		{name: "region", description: "AWS region", kind: "string", value: quoted(r.Region)},
		{name: "name", description: "Name of the stack: every resource is named after it", kind: "string", value: quoted(r.Name)},
		{name: "tags", description: "Tags added to every resource", kind: "map(string)", standard: "{}"},
		{name: "work_pool_name", description: "Prefect work pool that the worker serves", kind: "string", value: quoted(r.WorkPool)},
	}
	if r.APIURL != "" {
		list = append(list, variable{name: "prefect_api_url", description: "URL of the Prefect API, as the tasks reach it", kind: "string", value: quoted(r.APIURL)})
	}
	if r.VPCID != "" {
		list = append(list,
			variable{name: "vpc_id", description: "VPC of the worker and the flow runs", kind: "string", value: quoted(r.VPCID)},
			variable{name: "private_subnet_ids", description: "Subnets of the worker and the flow runs", kind: "list(string)", value: quotedList(r.SubnetIDs)})
	} else {
		list = append(list,
			variable{name: "az_count", description: "Number of availability zones", kind: "number", standard: "2"},
			variable{name: "nat_mode", description: "NAT gateways: `none`, `single` (one for all zones) or `per_az`", kind: "string", standard: `"single"`, value: quoted(r.NATMode)})
	}
	list = append(list,
		variable{name: "image", description: "Container image of the worker", kind: "string", value: quoted(r.Image)},
		variable{name: "cpu_architecture", description: "Processor that the image was built for: `X86_64` or `ARM64`", kind: "string", standard: `"X86_64"`, value: quoted(r.Architecture)},
		variable{name: "desired_count", description: "Number of worker tasks", kind: "number", standard: "1", value: fmt.Sprint(r.DesiredCount)},
		variable{name: "flow_run_image", description: "Image of flow runs whose deployment names none", kind: "string", standard: "null", value: quoted(r.FlowRunImage)},
		variable{name: "alarm_emails", description: "Who is told of alarms", kind: "list(string)", standard: "[]", value: quotedList(r.AlarmEmails)},
	)
	if r.Auth != AuthNone {
		list = append(list, variable{
			name: SecretReadyName, description: "Whether the secret has got its value. Until then the service runs 0 tasks", kind: "bool", standard: "false", value: "false",
			comment: "faber apply sets this to true once the secret has its value",
		})
	}
	return list
}

func (r Root) variables() string {
	var h hcl
	for i, v := range r.inputs() {
		if i > 0 {
			h.blank()
		}
		h.open("variable " + quoted(v.name))
		attrs := []attr{{"description", quoted(v.description)}, {"type", v.kind}}
		if v.standard != "" {
			attrs = append(attrs, attr{"default", v.standard})
		}
		h.attrs(attrs...)
		h.close()
	}
	return h.String()
}

func (r Root) values() string {
	var h hcl
	var attrs []attr
	for _, v := range r.inputs() {
		if v.comment != "" {
			h.attrs(attrs...)
			h.blank()
			h.comment(v.comment)
			attrs = nil
		}
		if v.value != "" && v.value != `""` && v.value != "[]" {
			attrs = append(attrs, attr{v.name, v.value})
		}
	}
	h.attrs(attrs...)
	return h.String()
}

func (r Root) outputs() string {
	var h hcl
	for i, o := range []struct{ name, description string }{
		{"region", "AWS region of the stack"},
		{"cluster_arn", "ECS cluster"},
		{"service_name", "The worker's ECS service"},
		{"log_group_name", "Log group of the worker"},
		{"flow_run_log_group_name", "Log group of flow runs"},
		{"secret_arn", "Secret with the Prefect credentials; null when there is none"},
		{"secret_value_ready", "Whether the secret is known to have a value. While false the service runs 0 tasks"},
		{"nat_public_ips", "Addresses from which worker and flow runs are seen outside, for allow lists"},
		{"work_pool_name", "Work pool that the worker serves"},
		{"base_job_template", "Base job template of the work pool as JSON, with every default pointing at this stack"},
	} {
		if i > 0 {
			h.blank()
		}
		h.open("output " + quoted(o.name))
		h.attrs(attr{"description", quoted(o.description)}, attr{"value", "module.faber." + o.name})
		h.close()
	}
	return h.String()
}

// attr is one line of a block; value is an expression.
type attr struct{ name, value string }

// hcl writes Terraform's language as terraform fmt would have it.
type hcl struct {
	strings.Builder

	depth int
}

func (h *hcl) line(text string) {
	h.WriteString(strings.Repeat("  ", h.depth) + text + "\n")
}

func (h *hcl) blank()              { h.WriteString("\n") }
func (h *hcl) comment(text string) { h.line("# " + text) }

func (h *hcl) open(head string) {
	h.line(head + " {")
	h.depth++
}

func (h *hcl) close() {
	h.depth--
	h.line("}")
}

// attrs writes neighbouring lines with their equals signs in one column.
func (h *hcl) attrs(list ...attr) {
	width := 0
	for _, a := range list {
		width = max(width, len(a.name))
	}
	for _, a := range list {
		h.line(fmt.Sprintf("%-*s = %s", width, a.name, a.value))
	}
}

// quoted is a text as an expression: nothing in it is a template.
func quoted(text string) string {
	escaped := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`, "${", "$${", "%{", "%%{").Replace(text)
	return `"` + escaped + `"`
}

func quotedList(list []string) string {
	var items []string
	for _, item := range list {
		items = append(items, quoted(item))
	}
	return "[" + strings.Join(items, ", ") + "]"
}
