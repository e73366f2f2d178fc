package ecs

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdkcredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// TestRoleIsAssumedAgain has sessions of different lengths: credentials are
// renewed before they end, under the same session name, and not sooner.
func TestRoleIsAssumedAgain(t *testing.T) {
	for lasts, want := range map[time.Duration]int{time.Hour: 1, time.Minute: 3} {
		var mu sync.Mutex
		var names []string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			form, _ := url.ParseQuery(string(body))
			mu.Lock()
			defer mu.Unlock()
			names = append(names, form.Get("RoleSessionName"))
			fmt.Fprintf(w, `<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>A%d</AccessKeyId><SecretAccessKey>s</SecretAccessKey>`+
				`<SessionToken>t</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
				len(names), time.Now().Add(lasts).UTC().Format(time.RFC3339))
		}))
		client := server.Client()
		provider := newRole(aws.Config{
			Region: "eu-central-1", BaseEndpoint: aws.String(server.URL), HTTPClient: client,
			Credentials: sdkcredentials.NewStaticCredentialsProvider("a", "b", ""),
		}, &sts.AssumeRoleInput{RoleArn: aws.String("arn:r")})
		var last aws.Credentials
		for range 3 {
			var err error
			if last, err = provider.Retrieve(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		client.CloseIdleConnections()
		server.Close()
		if len(names) != want || len(slices.Compact(names)) != 1 || last.AccessKeyID != fmt.Sprintf("A%d", want) {
			t.Errorf("sessions of %s: assumed as %v, the last key is %s", lasts, names, last.AccessKeyID)
		}
	}
}
