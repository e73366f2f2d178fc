package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"net/mail"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
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

// check holds all answers to what the module accepts, so that a slip is told now
// and not by a plan. Everything that is wrong is told at once.
func (f *initFlags) check() error {
	r := &f.root
	r.Auth = infra.Auth(f.auth)
	if f.auth == "" {
		r.Auth = infra.AuthKey
		if r.APIURL != "" {
			r.Auth = infra.AuthNone
		}
	}
	var errs []error
	add := func(flag string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", flag, err))
		}
	}
	add("region", checkRegion(r.Region))
	add("name", checkStackName(r.Name))
	add("pool", checkPoolName(r.WorkPool))
	add("image", checkImage(r.Image))
	add("api-url", checkAPIURL(r.APIURL))
	add("vpc", checkVPC(r.VPCID))
	add("subnets", f.checkNetwork())
	add("nat", oneOf(r.NATMode, "none", "single", "per_az"))
	add("architecture", oneOf(r.Architecture, "X86_64", "ARM64"))
	add("auth", f.checkAuth())
	add("alarm-emails", checkEmails(r.AlarmEmails))
	if r.DesiredCount < 0 {
		add("workers", errors.New("a number of 0 or more is needed"))
	}
	if err := errors.Join(errs...); err != nil {
		return usageError("nothing was written; 'faber init --help' tells the flags, and on a terminal it asks", "%s", strings.ReplaceAll(err.Error(), "\n", "\n       "))
	}
	return nil
}

func (f *initFlags) checkNetwork() error {
	if f.root.VPCID == "" {
		if len(f.root.SubnetIDs) > 0 {
			return errors.New("only used with --vpc")
		}
		return nil
	}
	return checkSubnets(f.root.SubnetIDs)
}

func (f *initFlags) checkAuth() error {
	if err := oneOf(string(f.root.Auth), string(infra.AuthKey), string(infra.AuthAuthString), string(infra.AuthNone)); err != nil {
		return err
	}
	if f.root.APIURL == "" && f.root.Auth != infra.AuthKey {
		return errors.New("Prefect Cloud takes api-key only; give --api-url for a server of your own")
	}
	return nil
}

// The rules are those of the module's variables.
var (
	regionForm = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]+$`)               //nolint:gochecknoglobals // compiled once
	nameForm   = regexp.MustCompile(`^[a-z][a-z0-9-]{0,22}[a-z0-9]$`)             //nolint:gochecknoglobals // compiled once
	vpcForm    = regexp.MustCompile(`^vpc-[0-9a-f]{8,17}$`)                       //nolint:gochecknoglobals // compiled once
	subnetForm = regexp.MustCompile(`^subnet-[0-9a-f]{8,17}$`)                    //nolint:gochecknoglobals // compiled once
	imageForm  = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._:/@-]*[a-zA-Z0-9]$`) //nolint:gochecknoglobals // compiled once
	apiURLForm = regexp.MustCompile(`^https?://[^/\s]+\S*$`)                      //nolint:gochecknoglobals // compiled once
)

func checkRegion(text string) error {
	if !regionForm.MatchString(text) {
		return errors.New("an AWS region is needed, such as eu-west-1")
	}
	return nil
}

func checkStackName(text string) error {
	if !nameForm.MatchString(text) || strings.HasPrefix(text, "sg-") {
		return errors.New("2 to 24 lower-case letters, digits and hyphens are needed, beginning with a letter and not with sg-")
	}
	return nil
}

func checkPoolName(text string) error {
	if strings.TrimSpace(text) == "" || strings.ContainsAny(text, "/%&><") {
		return errors.New("the name of a work pool is needed, without / % & > <")
	}
	return nil
}

func checkImage(text string) error {
	if !imageForm.MatchString(text) {
		return errors.New("the name of an image is needed, such as 123456789012.dkr.ecr.eu-west-1.amazonaws.com/faber:1.0.0")
	}
	return nil
}

func checkAPIURL(text string) error {
	switch {
	case text == "":
		return nil
	case !apiURLForm.MatchString(text):
		return errors.New("a URL is needed that begins with http:// or https://; it ends in /api for a self-hosted server")
	case isLoopback(text):
		return errors.New("this is a name for this machine; tasks in AWS need one that they reach")
	}
	return nil
}

func checkVPC(text string) error {
	if text != "" && !vpcForm.MatchString(text) {
		return errors.New("the id of a VPC is needed, such as vpc-0123456789abcdef0")
	}
	return nil
}

func checkSubnets(list []string) error {
	if len(list) == 0 {
		return errors.New("the ids of at least one private subnet of the VPC are needed")
	}
	for _, subnet := range list {
		if !subnetForm.MatchString(subnet) {
			return fmt.Errorf("%q is no id of a subnet, such as subnet-0123456789abcdef0", subnet)
		}
	}
	return nil
}

func checkEmails(list []string) error {
	for _, address := range list {
		if _, err := mail.ParseAddress(address); err != nil || strings.ContainsAny(address, "<> ") {
			return fmt.Errorf("%q is no e-mail address", address)
		}
	}
	return nil
}

func oneOf(text string, allowed ...string) error {
	if !slices.Contains(allowed, text) {
		return fmt.Errorf("%q is none of %s", text, strings.Join(allowed, ", "))
	}
	return nil
}

// inTheWay finds what the folder holds that would be overwritten, or would become
// part of the configuration unasked.
func (f *initFlags) inTheWay(std *IO) error {
	dir := f.folder(std)
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return usageError("name a folder", "%s is a file", dir)
	}
	if f.force {
		return nil
	}
	found, err := filepath.Glob(filepath.Join(globEscaped(dir), "*.tf"))
	if err != nil {
		return fmt.Errorf("look into %s: %w", dir, err)
	}
	for _, name := range []string{"terraform.tfvars", infra.ModuleDir} {
		if name == infra.ModuleDir && f.root.Source != "" {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err == nil {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return nil
	}
	for i, name := range found {
		found[i] = filepath.ToSlash(strings.TrimPrefix(name, dir+string(filepath.Separator)))
	}
	return usageError("choose another folder with --dir, or overwrite what has the same name with --force; a configuration that calls the faber module already needs no init: 'faber plan' works there",
		"nothing was written: %s holds %s", dir, strings.Join(found, ", "))
}

func (f *initFlags) write(std *IO) error {
	dir := f.folder(std)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // like any folder that is made by hand
		return fmt.Errorf("make the folder: %w", err)
	}
	var written []string
	for _, file := range f.root.Files() {
		target := filepath.Join(dir, file.Name)
		if file.Name == ".gitignore" && isFile(target) {
			// It is more than ours: what is missing in it is told.
			f.sayIgnored(std, target, file.Text)
			continue
		}
		if err := os.WriteFile(target, []byte(file.Text), 0o644); err != nil { //nolint:gosec // no secrets in it
			return fmt.Errorf("write the configuration: %w", err)
		}
		written = append(written, file.Name)
	}
	if f.root.Source == "" {
		if err := f.writeModule(dir); err != nil {
			return err
		}
		written = append(written, infra.ModuleDir+"/")
	}
	fmt.Fprintf(std.Out, "wrote %s in %s\n", strings.Join(written, ", "), dir)
	return nil
}

func (f *initFlags) sayIgnored(std *IO, path, text string) {
	have, err := os.ReadFile(path)
	if err != nil {
		return
	}
	var missing []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") && !slices.Contains(strings.Fields(string(have)), line) {
			missing = append(missing, line)
		}
	}
	if len(missing) > 0 {
		fmt.Fprintf(std.Err, "kept .gitignore as it is; add to it: %s\n", strings.Join(missing, "  "))
	}
}

// writeModule lays the module out, and takes away what an earlier one had more.
func (f *initFlags) writeModule(dir string) error {
	files, err := infra.ModuleFiles()
	if err != nil {
		return err
	}
	root := filepath.Join(dir, filepath.FromSlash(infra.ModuleDir))
	var former []string
	err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil || entry.IsDir():
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if path.Ext(name) == ".tf" && files[filepath.ToSlash(relative)] == nil {
			former = append(former, name)
		}
		return nil
	})
	for _, name := range former {
		err = errors.Join(err, os.Remove(name))
	}
	if err != nil {
		return fmt.Errorf("clear the former module: %w", err)
	}
	for name, data := range files {
		target := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil { //nolint:gosec // no secrets in a module
			return fmt.Errorf("write the module: %w", err)
		}
		mode := fs.FileMode(0o644)
		if path.Ext(name) == ".sh" {
			mode = 0o755
		}
		if err := os.WriteFile(target, data, mode); err != nil {
			return fmt.Errorf("write the module: %w", err)
		}
	}
	return nil
}

// upgrade replaces the module and nothing else.
func (f *initFlags) upgrade(std *IO) error {
	dir := f.folder(std)
	if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(infra.ModuleDir))); err != nil {
		return usageError("--dir names the folder of the configuration; one with --source takes the module from there",
			"there is no %s in %s to be replaced", infra.ModuleDir, dir)
	}
	if err := f.writeModule(dir); err != nil {
		return err
	}
	fmt.Fprintf(std.Out, "%s in %s is the module of faber %s\n", infra.ModuleDir, dir, version())
	fmt.Fprintf(std.Out, "see what that changes in AWS: faber plan%s\n", f.shown())
	return nil
}

func (f *initFlags) sayNext(std *IO) {
	where := f.shown()
	fmt.Fprintf(std.Out, `
Next:
  faber image push %s
      the worker's image, unless it is there already
  faber plan%s
      shows what would be made, and makes nothing
  faber apply%s
      shows it again, asks, makes it, sets up the work pool %s and waits for a worker

Commit these files, and the .terraform.lock.hcl that plan writes.
`, f.root.Image, where, where, f.root.WorkPool)
	if f.root.StateBucket == "" {
		fmt.Fprintln(std.Out, "Terraform's state stays in this folder, and only here: with --state-bucket a team shares it.")
	}
}
