package ecs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
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
	Role            assumedRole
}

// assumedRole is the role to act under; the zero value is none.
type assumedRole struct {
	ARN               string
	SessionName       string
	Duration          time.Duration
	Policy            string
	PolicyARNs        []string
	Tags              []sessionTag
	TransitiveTagKeys []string
	ExternalID        string
	SerialNumber      string
	TokenCode         string
	SourceIdentity    string
}

type sessionTag struct{ Key, Value string }

// key tells credentials apart without showing them.
func (c credentials) key() string {
	encoded, _ := json.Marshal(c) // strings, numbers and slices of them always encode
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}

// parseCredentials reads the block's data. Fields without a meaning to this
// launcher (API version, botocore's configuration) are passed over.
func parseCredentials(r *reader, block map[string]any) credentials {
	const at = "aws_credentials"
	field := func(object map[string]any, path, key string) string {
		return r.stringAt(object, key, path+"."+key)
	}
	out := credentials{
		AccessKeyID:     field(block, at, "aws_access_key_id"),
		SecretAccessKey: field(block, at, "aws_secret_access_key"),
		SessionToken:    field(block, at, "aws_session_token"),
		Profile:         field(block, at, "profile_name"),
		Region:          field(block, at, "region_name"),
	}
	out.Role.ARN = field(block, at, "assume_role_arn")
	if (out.AccessKeyID == "") != (out.SecretAccessKey == "") {
		r.problem(at, "has only one of aws_access_key_id and aws_secret_access_key")
	}
	client := r.inner(block, "aws_client_parameters", at)
	out.EndpointURL = field(client, at+".aws_client_parameters", "endpoint_url")
	out.CAFile = field(client, at+".aws_client_parameters", "verify_cert_path")
	switch verify := client["verify"].(type) {
	case bool:
		out.SkipVerify = !verify && out.CAFile == ""
	case string:
		if out.CAFile == "" {
			out.CAFile = verify
		}
	}
	if out.Role.ARN != "" {
		parseRole(r, &out.Role, r.inner(block, "assume_role_kwargs", at))
	}
	return out
}

func parseRole(r *reader, role *assumedRole, object map[string]any) {
	const at = "aws_credentials.assume_role_kwargs"
	role.SessionName = r.stringAt(object, "RoleSessionName", at+".RoleSessionName")
	role.Policy = r.stringAt(object, "Policy", at+".Policy")
	role.ExternalID = r.stringAt(object, "ExternalId", at+".ExternalId")
	role.SerialNumber = r.stringAt(object, "SerialNumber", at+".SerialNumber")
	role.TokenCode = r.stringAt(object, "TokenCode", at+".TokenCode")
	role.SourceIdentity = r.stringAt(object, "SourceIdentity", at+".SourceIdentity")
	if seconds, ok := wholeNumber(object["DurationSeconds"]); ok {
		role.Duration = time.Duration(seconds) * time.Second
	}
	for _, policy := range objects(object["PolicyArns"]) {
		role.PolicyARNs = append(role.PolicyARNs, stringField(policy, "arn"))
	}
	for _, t := range objects(object["Tags"]) {
		role.Tags = append(role.Tags, sessionTag{stringField(t, "Key"), stringField(t, "Value")})
	}
	keys, _ := object["TransitiveTagKeys"].([]any)
	for _, key := range keys {
		role.TransitiveTagKeys = append(role.TransitiveTagKeys, text(key))
	}
}

// inner reads an object inside another.
func (r *reader) inner(object map[string]any, key, path string) map[string]any {
	value, ok := object[key].(map[string]any)
	if !ok && object[key] != nil {
		r.problem(path+"."+key, "must be an object")
	}
	return value
}
