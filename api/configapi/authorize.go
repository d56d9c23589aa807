package configapi

import (
	"fmt"
	"net/http"
	"strings"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
	"muster/catalog/ca"
	"muster/catalog/configentry"
	"muster/catalog/state"
)

// knock is what a service says of somebody who has connected to it.
type knock struct {
	Target        string
	ClientCertURI string
	// ClientCertSerial is what Consul's clients send too. No certificate is revoked
	// before its end, so it makes no difference.
	ClientCertSerial string
}

// opinion says whether he may stay.
type opinion struct {
	Authorized bool
	Reason     string
}

// Policy says whether a connection may be made that no intention is about: "allow",
// "deny", or "" where nothing is configured, which allows.
type Policy string

func authorizeRoutes(p Policy) []api.Route {
	return []api.Route{{
		Method: http.MethodPost, Path: "/v1/agent/connect/authorize", Kind: api.Write,
		Doc:  "Tells whether the owner of a certificate may connect to a service. Nothing is written.",
		Body: knock{}, Answer: opinion{}, Edit: p.authorize,
	}}
}

// authorize answers for a service that somebody has connected to. It has the leader
// answer: an intention that was set counts from the next connection on.
func (p Policy) authorize(v *state.View, r *api.Request) (catalog.Command, any, error) {
	var k knock
	if err := api.Decode(r.Body, &k); err != nil {
		return nil, nil, err
	}
	if k.Target == "" {
		return nil, nil, catalog.Errorf(catalog.Invalid, "Target service must be specified")
	}
	client, err := ca.ParseURI(k.ClientCertURI)
	if err != nil {
		return nil, nil, err
	}
	if err := acl.Check(r.Authz, acl.Service, k.Target, acl.Write); err != nil {
		return nil, nil, err
	}
	if own := v.CA(); own != nil && own.TrustDomain() != client.TrustDomain {
		return nil, opinion{false, fmt.Sprintf("The certificate is of trust domain %s, this cluster is %s", client.TrustDomain, own.TrustDomain())}, nil
	}
	match, err := matching(v, client.Service, k.Target)
	if err != nil {
		return nil, nil, err
	}
	return nil, opinion{p.allows(match), p.reason(match)}, nil
}

// matching is the most exact intention that is about a connection; nil where there
// is none.
func matching(v *state.View, source, destination string) (*intention, error) {
	list, err := towards(v, destination)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if at := &list[i]; at.SourcePeer == "" && (at.SourceName == source || at.SourceName == configentry.Wildcard) {
			return at, nil
		}
	}
	return nil, nil
}

// allows says whether a connection may be made that i is the most exact intention about,
// nil if there is none. One with permissions for requests lets no connection through
// by itself.
func (p Policy) allows(i *intention) bool {
	if i == nil {
		return p != configentry.Deny
	}
	return i.Action == configentry.Allow
}

// reason says why, in Consul's words.
func (p Policy) reason(i *intention) string {
	switch {
	case i == nil && p != "":
		return "Default intention policy"
	case i == nil:
		return "Default behavior configured by ACLs"
	case len(i.Permissions) > 0:
		return fmt.Sprintf("Matched L7 intention: %s (Precedence: %d, Permissions: %d)", i.path(), i.Precedence, len(i.Permissions))
	}
	return fmt.Sprintf("Matched L4 intention: %s (Precedence: %d, Action: %s)", i.path(), i.Precedence, strings.ToUpper(i.Action))
}

func (i *intention) path() string {
	return i.SourceNS + "/" + i.SourceName + " => " + i.DestinationNS + "/" + i.DestinationName
}
