package cli

import (
	"errors"
	"fmt"
	"net/mail"
	"regexp"
	"slices"
	"strings"

	"faber/internal/infra"
)

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
