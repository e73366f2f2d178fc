package fakeaws

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// AssumedAccessKey signs the calls that are made under an assumed role.
const AssumedAccessKey = "assumed"

func (s *Server) assumeRole(call Call) (any, *Fault) {
	role, session := text(call.Body, "RoleArn"), text(call.Body, "RoleSessionName")
	if !strings.HasPrefix(role, "arn:") || session == "" {
		return nil, &Fault{Code: "ValidationError", Message: "RoleArn and RoleSessionName are required."}
	}
	lasts, err := strconv.Atoi(firstText(text(call.Body, "DurationSeconds"), "3600"))
	if err != nil || lasts < 900 {
		return nil, &Fault{Code: "ValidationError", Message: "1 validation error detected: Value at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900"}
	}
	expires := time.Now().Add(time.Duration(lasts) * time.Second).UTC().Format(time.RFC3339)
	return stsAnswer("AssumeRole", element("Credentials",
		element("AccessKeyId", AssumedAccessKey)+element("SecretAccessKey", "s")+element("SessionToken", "token")+element("Expiration", expires))+
		element("AssumedRoleUser", element("AssumedRoleId", "AROA:"+escape(session))+element("Arn", escape(sessionARN(role, session))))), nil
}

func sessionARN(role, session string) string {
	return "arn:aws:sts::" + Account + ":assumed-role/" + lastPart(role) + "/" + session
}

func (s *Server) getCallerIdentity(call Call) (any, *Fault) {
	who := "arn:aws:iam::" + Account + ":user/" + call.AccessKey
	if call.AccessKey == AssumedAccessKey {
		assumed := s.callsOf([]string{"AssumeRole"})
		if len(assumed) > 0 {
			last := assumed[len(assumed)-1].Body
			who = sessionARN(text(last, "RoleArn"), text(last, "RoleSessionName"))
		}
	}
	return stsAnswer("GetCallerIdentity", element("UserId", escape(call.AccessKey))+element("Account", Account)+element("Arn", escape(who))), nil
}

func stsAnswer(op, result string) string {
	return fmt.Sprintf(`<%sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult>%s</%[1]sResult>`+
		`<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></%[1]sResponse>`, op, result)
}
