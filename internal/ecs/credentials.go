package ecs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// credentials are an AwsCredentials block. The zero value stands for the
// worker's own: environment, profile, container or instance role.
type credentials struct {
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string
	Profile         string
	Region          string
	EndpointURL     string
	SkipVerify      bool
	CAFile          string
	Client          clientConfig
	Role            *sts.AssumeRoleInput // the role to act under; nil is none
}

// String names whose they are, and shows none of them.
func (c credentials) String() string {
	return "credentials " + firstOf(c.AccessKeyID, c.Profile, "of the machine")
}

// GoString is String.
func (c credentials) GoString() string { return c.String() }

// key tells credentials apart without showing them.
func (c credentials) key() string {
	encoded, _ := json.Marshal(c) // strings, numbers, and slices and maps of them always encode
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}

// parseCredentials reads the block's data. What has no counterpart here is a
// problem when AWS would be spoken to in another way than was asked for, and
// else a warning.
func parseCredentials(r *reader, block map[string]any) credentials {
	const at = "aws_credentials"
	field := func(key string) string { return r.stringAt(block, key, at+"."+key) }
	out := credentials{
		AccessKeyID:     field("aws_access_key_id"),
		SecretAccessKey: field("aws_secret_access_key"),
		SessionToken:    field("aws_session_token"),
		Profile:         field("profile_name"),
		Region:          field("region_name"),
	}
	if (out.AccessKeyID == "") != (out.SecretAccessKey == "") {
		r.problem(at, "has only one of aws_access_key_id and aws_secret_access_key")
	}
	parseClientParameters(r, &out, r.inner(block, "aws_client_parameters", at))
	if role := field("assume_role_arn"); role != "" {
		out.Role = parseRole(r, r.inner(block, "assume_role_kwargs", at))
		out.Role.RoleArn = aws.String(role)
	}
	return out
}

func parseClientParameters(r *reader, out *credentials, client map[string]any) {
	const at = "aws_credentials.aws_client_parameters"
	out.EndpointURL = r.stringAt(client, "endpoint_url", at+".endpoint_url")
	out.CAFile = r.stringAt(client, "verify_cert_path", at+".verify_cert_path")
	parseVerify(r, out, client["verify"])
	if !r.boolAt(client, "use_ssl", at+".use_ssl", true) && out.EndpointURL == "" {
		r.problem(at+".use_ssl", "AWS is only spoken to over TLS: to use another service without it, set endpoint_url to its http:// address")
	}
	if version := r.stringAt(client, "api_version", at+".api_version"); version != "" {
		r.warn(at+".api_version", "has no effect: there is one version of each API")
	}
	known := []string{"api_version", "use_ssl", "verify", "verify_cert_path", "endpoint_url", "config"}
	for _, key := range sortedKeys(client) {
		if !slices.Contains(known, key) {
			r.warn(at+"."+key, "has no effect")
		}
	}
	parseClientConfig(r, out, r.inner(client, "config", at))
}

// parseVerify reads whether certificates are checked, or against which. The
// path of its own setting goes before one in verify, but counts for nothing when
// nothing is checked.
func parseVerify(r *reader, out *credentials, verify any) {
	if verify == nil {
		return
	}
	path, isText := verify.(string)
	switch check, ok := truth(verify); {
	case ok && !check:
		out.SkipVerify, out.CAFile = true, ""
	case ok:
	case !isText:
		r.problem("aws_credentials.aws_client_parameters.verify", noBoolean)
	case out.CAFile == "":
		out.CAFile = path
	}
}

// parseRole reads the arguments of AssumeRole, in the spelling of STS.
func parseRole(r *reader, object map[string]any) *sts.AssumeRoleInput {
	const at = "aws_credentials.assume_role_kwargs"
	input := &sts.AssumeRoleInput{}
	object = copyObject(object)
	f := fitter{wireName: func(field string) string {
		if field == "Arn" { // the one that STS writes small
			return "arn"
		}
		return field
	}}
	maps.DeleteFunc(object, func(_ string, value any) bool { return empty(value) })
	f.fitStruct(object, reflect.ValueOf(input).Elem(), at)
	for _, field := range f.unknown {
		r.warn(field.String(), "has no effect: AssumeRole has no such argument")
	}
	for _, p := range f.problems {
		r.problem(p.field, p.text)
	}
	if input.TokenCode != nil {
		r.warn(at+".TokenCode", "serves once: when the role's session ends, it cannot be assumed again")
	}
	return input
}

// inner reads an object inside another.
func (r *reader) inner(object map[string]any, key, path string) map[string]any {
	value, ok := object[key].(map[string]any)
	if !ok && object[key] != nil {
		r.problem(path+"."+key, dictionaryFor(key))
	}
	return value
}
