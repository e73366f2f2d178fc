package cli

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"faber/internal/config"
	"faber/internal/infra"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/spf13/cobra"
)

const initHelp = `
Writes a small Terraform configuration for a stack in an AWS account: main.tf,
variables.tf, outputs.tf, versions.tf, terraform.tfvars and .gitignore, as somebody
would write them by hand who knows the module. They are yours from then on: change
them, and use terraform or faber on them as you like. No file is overwritten
without --force, and nothing in AWS is touched.

The module itself is laid out in modules/faber, to be committed with the rest, so
that a pipeline or a colleague without faber plans the same. With --source the
configuration takes it from elsewhere, and modules/faber is not written.

What no flag says is asked, on a terminal. Region and Prefect API are suggested from
the AWS configuration and Prefect's settings in force.`

// initFlags are the answers to the questions of 'faber init', and what is not asked.
type initFlags struct {
	deployFlags

	root          infra.Root
	auth          string
	force         bool
	upgradeModule bool
}

func newInitCommand(std *IO) *cobra.Command {
	f := &initFlags{}
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a Terraform configuration for a stack in an AWS account",
		Long:  strings.TrimSpace(initHelp),
		Example: `  faber init
  faber init --dir production --name production --region eu-west-1 --pool production \
    --image 123456789012.dkr.ecr.eu-west-1.amazonaws.com/faber:1.0.0`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.upgradeModule {
				return f.upgrade(std)
			}
			return f.run(cmd, std)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.dir, "dir", ".", "`folder` to write to; it is made if need be")
	flags.StringVar(&f.root.Name, "name", "faber", "`name` of the stack: every resource is named after it")
	flags.StringVar(&f.root.Region, "region", "", "AWS `region` (default: that of the AWS configuration)")
	flags.StringVar(&f.root.WorkPool, "pool", "", "Prefect work `pool` (default: the stack's name)")
	flags.StringVar(&f.root.Image, "image", "", "container `image` of the worker, as 'faber image push' printed it")
	flags.StringVar(&f.root.APIURL, "api-url", "", "`URL` of a self-hosted Prefect API, as tasks in AWS reach it (default: Prefect Cloud)")
	flags.StringVar(&f.auth, "auth", "", "how the API knows the worker: api-key, auth-string or none (default: api-key for Prefect Cloud, none otherwise)")
	flags.StringVar(&f.root.VPCID, "vpc", "", "existing `VPC` to use (default: a new one)")
	flags.StringSliceVar(&f.root.SubnetIDs, "subnets", nil, "private `subnets` of the existing VPC, separated by commas")
	flags.StringVar(&f.root.NATMode, "nat", "single", "NAT gateways of a new VPC: none, single or per_az")
	flags.StringVar(&f.root.Architecture, "architecture", "X86_64", "processor that the image was built for: X86_64 or ARM64")
	flags.IntVar(&f.root.DesiredCount, "workers", 1, "`number` of worker tasks")
	flags.StringVar(&f.root.FlowRunImage, "flow-run-image", "prefecthq/prefect:3-latest", "`image` of flow runs whose deployment names none")
	flags.StringSliceVar(&f.root.AlarmEmails, "alarm-emails", nil, "`addresses` that are told of alarms, separated by commas")
	flags.StringVar(&f.root.StateBucket, "state-bucket", "", "S3 `bucket` for Terraform's state (default: a file in the folder)")
	flags.StringVar(&f.root.Source, "source", "", "`address` to take the module from (default: modules/faber, which is written)")
	flags.BoolVar(&f.force, "force", false, "overwrite files that are there")
	flags.BoolVar(&f.upgradeModule, "upgrade-module", false, "only lay out modules/faber of this faber in place of the one that is there")
	f.addProfileTo(cmd)
	return cmd
}

func (f *initFlags) run(cmd *cobra.Command, std *IO) error {
	if err := f.inTheWay(std); err != nil {
		return err
	}
	f.suggest(cmd, std)
	given := func(name string) bool { return cmd.Flags().Changed(name) }
	if std.InIsTerminal {
		if err := f.ask(std, given); err != nil {
			return err
		}
	}
	if f.root.WorkPool == "" {
		f.root.WorkPool = f.root.Name
	}
	if err := f.check(); err != nil {
		return err
	}
	if err := f.write(std); err != nil {
		return err
	}
	f.sayNext(std)
	return nil
}

// suggest finds defaults on this machine.
func (f *initFlags) suggest(cmd *cobra.Command, std *IO) {
	if f.root.Region == "" {
		if machine, err := awsconfig.LoadDefaultConfig(cmd.Context()); err == nil {
			f.root.Region = machine.Region
		}
	}
	settings, err := config.Inspect(lookup(std, f.profile))
	if err != nil {
		return // the settings are no condition for writing files
	}
	if !cmd.Flags().Changed("api-url") && settings.APIURL != "" && !settings.IsCloud && !isLoopback(settings.APIURL) {
		f.root.APIURL = settings.APIURL
	}
	if f.auth == "" && f.root.APIURL != "" && settings.APIAuthString != "" {
		f.auth = string(infra.AuthAuthString)
	}
}

// isLoopback says that a URL means this machine: no task in AWS reaches it there.
func isLoopback(address string) bool {
	parsed, err := url.Parse(address)
	return err == nil && slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, parsed.Hostname())
}

// question is one thing that 'faber init' wants to know.
type question struct {
	flag  string
	text  string
	value *string
	check func(string) error
	skip  func() bool
}

func (f *initFlags) questions(subnets, emails *string) []question {
	return []question{
		{flag: "region", text: "AWS region", value: &f.root.Region, check: checkRegion},
		{flag: "name", text: "Name of the stack", value: &f.root.Name, check: checkStackName},
		{flag: "pool", text: "Prefect work pool", value: &f.root.WorkPool, check: checkPoolName},
		{flag: "api-url", text: "URL of a self-hosted Prefect API, or nothing for Prefect Cloud", value: &f.root.APIURL, check: checkAPIURL},
		{flag: "image", text: "Container image of the worker ('faber image push' prints it)", value: &f.root.Image, check: checkImage},
		{flag: "vpc", text: "Existing VPC, or nothing for a new one", value: &f.root.VPCID, check: checkVPC},
		{
			flag: "subnets", text: "Its private subnets, separated by commas", value: subnets,
			check: func(text string) error { return checkSubnets(splitList(text)) }, skip: func() bool { return f.root.VPCID == "" },
		},
		{
			flag: "alarm-emails", text: "E-mail addresses that are told of alarms, separated by commas, or nothing", value: emails,
			check: func(text string) error { return checkEmails(splitList(text)) },
		},
	}
}

// ask asks what no flag said, with what was found as the suggestion. An answer that
// cannot be right is asked for again.
func (f *initFlags) ask(std *IO, given func(string) bool) error {
	var subnets, emails string
	for _, q := range f.questions(&subnets, &emails) {
		if given(q.flag) || q.skip != nil && q.skip() {
			continue
		}
		if q.flag == "pool" && f.root.WorkPool == "" {
			f.root.WorkPool = f.root.Name
		}
		for {
			suggestion := ""
			if *q.value != "" {
				suggestion = " [" + *q.value + "]"
			}
			fmt.Fprintf(std.Err, "%s%s: ", q.text, suggestion)
			answer, ended := readAnswer(std.In)
			if answer == "" {
				answer = *q.value
			}
			err := q.check(answer)
			if err == nil {
				*q.value = answer
				break
			}
			if ended {
				fmt.Fprintln(std.Err)
				return usageError("run 'faber init' again, or give --"+q.flag, "the question was not answered: %s", err)
			}
			fmt.Fprintf(std.Err, "  %s\n", err)
		}
	}
	if subnets != "" {
		f.root.SubnetIDs = splitList(subnets)
	}
	if emails != "" {
		f.root.AlarmEmails = splitList(emails)
	}
	return nil
}

func splitList(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}
