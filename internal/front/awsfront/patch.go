package awsfront

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"time"

	"faber/internal/front"
)

// patch answers one operation: with the emulator's answer mended, or in its
// stead. Why each is needed stands at its function.
type patch func(x *exchange) (*answer, error)

// patchTable names the operations that are patched.
func (f *Front) patchTable() map[front.Op]patch {
	table := map[front.Op]patch{}
	for service, operations := range map[string]map[string]patch{
		"ecs": {
			"RunTask": f.runTask, "DescribeTasks": f.describeTasks, "ListTasks": f.listTasks, "StopTask": f.stopTask,
			"CreateService": f.createService, "UpdateService": f.updateService,
			"DescribeServices": f.describeServices, "DeleteService": f.deleteService,
			"RegisterTaskDefinition": f.registerTaskDefinition, "DeregisterTaskDefinition": f.deregisterTaskDefinition,
		},
		"sqs": {"ReceiveMessage": f.receiveMessage},
		"secretsmanager": {
			"CreateSecret": f.changeSecret(true), "UpdateSecret": f.changeSecret(false), "PutSecretValue": f.changeSecret(false),
			"DescribeSecret": f.describeSecret,
		},
		"ec2": {
			"CreateVpcEndpoint": f.createVPCEndpoint, "ModifyVpcEndpoint": f.modifyVPCEndpoint,
			"DescribeVpcEndpoints": f.describeVPCEndpoints, "DeleteVpcEndpoints": f.deleteVPCEndpoints,
			"DescribeNetworkInterfaces":    f.describeNetworkInterfaces,
			"AuthorizeSecurityGroupEgress": f.authorizeRules, "AuthorizeSecurityGroupIngress": f.authorizeRules, "DescribeSecurityGroupRules": f.describeRules,
			"CreateFlowLogs": f.createFlowLogs, "DescribeFlowLogs": f.describeFlowLogs, "DeleteFlowLogs": f.deleteFlowLogs,
			"CreateSubnet": f.tellSubnets, "DescribeSubnets": f.tellSubnets,
			"DeleteVpc": f.deleteVPC, "DeleteSubnet": f.forgetEC2Tags("SubnetId"), "DeleteSecurityGroup": f.forgetEC2Tags("GroupId"),
			"DeleteRouteTable": f.forgetEC2Tags("RouteTableId"), "DeleteInternetGateway": f.forgetEC2Tags("InternetGatewayId"),
			"DeleteNatGateway": f.forgetEC2Tags("NatGatewayId"),
		},
		"application-autoscaling": {
			"RegisterScalableTarget": f.registerScalableTarget, "DeregisterScalableTarget": f.deregisterScalableTarget,
			"DescribeScalableTargets": f.describeScalableTargets,
			"ListTagsForResource":     f.listScalableTargetTags, "TagResource": f.tagScalableTarget, "UntagResource": f.untagScalableTarget,
			"PutScalingPolicy": f.putScalingPolicy, "DescribeScalingPolicies": f.describeScalingPolicies, "DeleteScalingPolicy": f.deleteScalingPolicy,
		},
		"monitoring": {
			"PutCompositeAlarm": f.putCompositeAlarm, "DescribeAlarms": f.describeAlarms, "DeleteAlarms": f.deleteAlarms,
			"ListTagsForResource": f.listAlarmTags, "TagResource": f.tagAlarm, "UntagResource": f.untagAlarm,
		},
		"iam": f.identityPatches(),
		"sns": {
			"Subscribe": f.subscribe, "Unsubscribe": f.unsubscribe, "GetSubscriptionAttributes": f.getSubscriptionAttributes,
			"ListSubscriptions": f.listSubscriptions, "ListSubscriptionsByTopic": f.listSubscriptions,
		},
		"codepipeline": {
			"CreatePipeline": f.createPipeline, "UpdatePipeline": f.updatePipeline, "GetPipeline": f.getPipeline, "ListPipelines": f.listPipelines,
		},
		"codebuild": {
			"CreateProject": f.changeBuildProject(true), "UpdateProject": f.changeBuildProject(false),
			"BatchGetProjects": f.batchGetProjects, "DeleteProject": f.deleteBuildProject,
		},
		"codestar-connections": f.connectionPatches(),
		"codeconnections":      f.connectionPatches(),
		"ce":                   {"UpdateCostAllocationTagsStatus": f.updateCostTags, "ListCostAllocationTags": f.listCostTags},
	} {
		for operation, p := range operations {
			table[front.Op{Service: service, Operation: operation}] = p
		}
	}
	return table
}

// exchange is a call that a patch handles.
type exchange struct {
	scope scope
	body  []byte
	entry *front.Entry // in the ledger
	// send makes the call at the emulator, with the body given. It outlives the
	// caller: what a call has effected must be remembered even when nobody waits
	// for the answer any more.
	send func(body []byte) (*answer, error)
	// wait does the same, and ends with the caller.
	wait func(body []byte) (*answer, error)
}

// decode reads the request's parameters.
func (x *exchange) decode(v any) error {
	if err := json.Unmarshal(x.body, v); err != nil {
		return &refusal{code: "SerializationException", message: err.Error()}
	}
	return nil
}

// forward makes the call as it came.
func (x *exchange) forward() (*answer, error) { return x.send(x.body) }

// answer is what goes back to the caller.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a *answer) ok() bool { return a.status < 300 }

// edit decodes the answer, lets change have it, and encodes it again. What is
// no success or no JSON stays as it is.
func (a *answer) edit(change func(v map[string]any)) *answer {
	v := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.UseNumber()
	if !a.ok() || d.Decode(&v) != nil {
		return a
	}
	change(v)
	body, err := json.Marshal(v)
	if err != nil {
		return a
	}
	return &answer{status: a.status, header: a.header, body: body}
}

// answerJSON is a success of the front's own making.
func answerJSON(v any) (*answer, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return &answer{status: http.StatusOK, header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}}, body: body}, nil
}

// refusal is an error as AWS would answer it.
type refusal struct {
	code    string
	message string
	extra   map[string]any
}

func (e *refusal) Error() string { return e.code + ": " + e.message }

func (f *Front) servePatched(w http.ResponseWriter, r *http.Request, p patch, to upstream, s scope, body []byte) {
	a, err := p(&exchange{
		scope: s, body: body, entry: front.EntryOf(r.Context()),
		send: func(body []byte) (*answer, error) {
			return f.send(context.WithoutCancel(r.Context()), r, to, body)
		},
		wait: func(body []byte) (*answer, error) { return f.send(r.Context(), r, to, body) },
	})
	var refused *refusal
	if errors.As(err, &refused) {
		writeError(w, r, http.StatusBadRequest, refused.code, refused.message, refused.extra)
		return
	}
	if r.Context().Err() != nil && err != nil {
		panic(http.ErrAbortHandler) // Nobody is left to answer.
	}
	if err != nil {
		f.log.Warn("emulator does not answer", "emulator", to, "error", err)
		writeError(w, r, http.StatusBadGateway, "ServiceUnavailable", err.Error(), nil)
		return
	}
	maps.Copy(w.Header(), a.header)
	w.Header().Del("Content-Length")
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// send makes a call at an emulator and waits for the whole answer.
func (f *Front) send(ctx context.Context, r *http.Request, to upstream, body []byte) (*answer, error) {
	target := f.o.Ministack
	if to == moto {
		target = f.o.Moto
	}
	u := target.JoinPath(r.URL.Path)
	u.RawQuery = r.URL.RawQuery
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, r.Method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = r.Header.Clone()
	// The transport asks for gzip itself, and then unpacks it.
	req.Header.Del("Accept-Encoding")
	req.Header.Del("Connection")
	req.Host = r.Host
	res, err := f.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("pass on to %s: %w", to, err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read answer of %s: %w", to, err)
	}
	res.Header.Del("Connection")
	return &answer{status: res.StatusCode, header: res.Header, body: data}, nil
}
