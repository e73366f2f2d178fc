package awsfront

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// identityProviders are those that IAM trusts to say who somebody is, such as
// GitHub. ministack makes and tells them, and has no call that changes one.
type identityProviders struct {
	mu   sync.Mutex
	made map[string]*identityProvider // by account and ARN
}

type identityProvider struct {
	clients, thumbprints []string
	tags                 map[string]string
}

func newIdentityProviders() *identityProviders {
	return &identityProviders{made: map[string]*identityProvider{}}
}

// foundThumbprint stands for the one that IAM finds by itself: "If you do not
// include a thumbprint, IAM retrieves and uses the top intermediate certificate
// authority (CA) thumbprint" (CreateOpenIDConnectProvider).
const foundThumbprint = "ffffffffffffffffffffffffffffffffffffffff"

var providerARN = regexp.MustCompile(`<OpenIDConnectProviderArn>([^<]+)<`)

func (f *Front) createIdentityProvider(x *exchange) (*answer, error) {
	form, err := x.form()
	if err != nil {
		return nil, err
	}
	a, err := x.forward()
	if err != nil || !a.ok() {
		return a, err
	}
	found := providerARN.FindSubmatch(a.body)
	if found == nil {
		return a, nil
	}
	p := &identityProvider{clients: formList(form, "ClientIDList.member."), thumbprints: formList(form, "ThumbprintList.member."), tags: formTags(form)}
	if len(p.thumbprints) == 0 {
		p.thumbprints = []string{foundThumbprint}
	}
	f.identities.mu.Lock()
	defer f.identities.mu.Unlock()
	f.identities.made[x.scope.accessKey+" "+string(found[1])] = p
	return a, nil
}

// changeIdentityProvider answers a call that changes one.
func (f *Front) changeIdentityProvider(change func(*identityProvider, url.Values)) patch {
	return func(x *exchange) (*answer, error) {
		form, err := x.form()
		if err != nil {
			return nil, err
		}
		f.identities.mu.Lock()
		defer f.identities.mu.Unlock()
		p := f.identities.made[x.scope.accessKey+" "+form.Get("OpenIDConnectProviderArn")]
		if p == nil {
			return nil, &refusal{code: "NoSuchEntity", message: "OpenIDConnect Provider not found for arn " + form.Get("OpenIDConnectProviderArn")}
		}
		change(p, form)
		return answerXML(form.Get("Action"), "")
	}
}

func (f *Front) identityPatches() map[string]patch {
	return map[string]patch{
		"CreateOpenIDConnectProvider": f.createIdentityProvider,
		"GetOpenIDConnectProvider":    f.getIdentityProvider,
		"DeleteOpenIDConnectProvider": f.deleteIdentityProvider,
		"TagOpenIDConnectProvider": f.changeIdentityProvider(func(p *identityProvider, form url.Values) {
			maps.Copy(p.tags, formTags(form))
		}),
		"UntagOpenIDConnectProvider": f.changeIdentityProvider(func(p *identityProvider, form url.Values) {
			for _, k := range formList(form, "TagKeys.member.") {
				delete(p.tags, k)
			}
		}),
		"UpdateOpenIDConnectProviderThumbprint": f.changeIdentityProvider(func(p *identityProvider, form url.Values) {
			p.thumbprints = formList(form, "ThumbprintList.member.")
		}),
		"AddClientIDToOpenIDConnectProvider": f.changeIdentityProvider(func(p *identityProvider, form url.Values) {
			if id := form.Get("ClientID"); !slices.Contains(p.clients, id) {
				p.clients = append(p.clients, id)
			}
		}),
		"RemoveClientIDFromOpenIDConnectProvider": f.changeIdentityProvider(func(p *identityProvider, form url.Values) {
			p.clients = slices.DeleteFunc(p.clients, func(id string) bool { return id == form.Get("ClientID") })
		}),
	}
}

var providerParts = regexp.MustCompile(`(?s)<(ClientIDList|ThumbprintList|Tags|Url)>.*?</(?:ClientIDList|ThumbprintList|Tags|Url)>`)

// getIdentityProvider tells what is in force, and the address as AWS does:
// without its scheme.
func (f *Front) getIdentityProvider(x *exchange) (*answer, error) {
	form, err := x.form()
	if err != nil {
		return nil, err
	}
	a, err := x.forward()
	if err != nil || !a.ok() {
		return a, err
	}
	f.identities.mu.Lock()
	defer f.identities.mu.Unlock()
	arn := form.Get("OpenIDConnectProviderArn")
	p := f.identities.made[x.scope.accessKey+" "+arn]
	if p == nil {
		return a, nil
	}
	body := providerParts.ReplaceAllFunc(a.body, func(element []byte) []byte {
		name := string(providerParts.FindSubmatch(element)[1])
		var b strings.Builder
		switch name {
		case "Url":
			_, host, _ := strings.Cut(arn, ":oidc-provider/")
			b.WriteString(escaped(host))
		case "ClientIDList":
			writeMembers(&b, p.clients)
		case "ThumbprintList":
			writeMembers(&b, p.thumbprints)
		default:
			for _, k := range sortedKeys(p.tags) {
				fmt.Fprintf(&b, "<member><Key>%s</Key><Value>%s</Value></member>", escaped(k), escaped(p.tags[k]))
			}
		}
		return fmt.Appendf(nil, "<%[1]s>%[2]s</%[1]s>", name, b.String())
	})
	return &answer{status: a.status, header: a.header, body: body}, nil
}

func writeMembers(b *strings.Builder, list []string) {
	for _, item := range list {
		fmt.Fprintf(b, "<member>%s</member>", escaped(item))
	}
}

func (f *Front) deleteIdentityProvider(x *exchange) (*answer, error) {
	form, err := x.form()
	if err != nil {
		return nil, err
	}
	a, err := x.forward()
	if err == nil && a.ok() {
		f.identities.mu.Lock()
		defer f.identities.mu.Unlock()
		delete(f.identities.made, x.scope.accessKey+" "+form.Get("OpenIDConnectProviderArn"))
	}
	return a, err
}
