package agentapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"muster/api"
	"muster/catalog/acl"
)

// Identities are the certificates by which the services of this agent show who they
// are.
type Identities interface {
	// Leaf gives a service's certificate, and a channel that is closed when it has
	// another. It waits for the first, but not for long.
	Leaf(ctx context.Context, service string) (*Leaf, <-chan struct{}, error)
	// Leaves gives a channel that is closed when any service has another: take it
	// before looking.
	Leaves() <-chan struct{}
}

// Leaf is a certificate with its key. Its JSON form is the API's.
type Leaf struct {
	SerialNumber  string // hexadecimal numbers with colons
	CertPEM       string // with the links to older roots
	PrivateKeyPEM string
	Service       string
	ServiceURI    string
	ValidAfter    time.Time
	ValidBefore   time.Time
	CreateIndex   uint64
	ModifyIndex   uint64
}

func (h handlers) identityRoutes() []api.Route {
	return []api.Route{{
		Method: http.MethodGet, Path: "/v1/agent/connect/ca/leaf/{service}",
		Doc: "Gives a service's certificate with its key; with an index, once there is another.",
		Params: []api.Param{{Name: "index", Doc: "the X-Consul-Index that the caller has: wait for another"},
			{Name: "wait", Doc: "how long to wait, such as 10s; 5m where it is left out"}},
		ACL:    api.Rule{Resource: acl.Service, Access: acl.Write, Name: func(r *api.Request) string { return r.Var("service") }},
		Answer: Leaf{},
		Do:     h.leaf, Changed: h.agent.Leaves,
	}}
}

// leaf answers with a service's certificate, or waits until it is another one than
// the caller has.
func (h handlers) leaf(r *api.Request) (any, error) {
	service := r.Var("service")
	if service == "" || strings.ContainsAny(service, "/\x00") {
		return nil, invalid("%q is not the name of a service that can have a certificate", service)
	}
	wait, err := waitTime(r)
	if err != nil {
		return nil, err
	}
	has := uint64(0)
	if !r.Streams {
		has, _ = strconv.ParseUint(r.Query.Get("index"), 10, 64) // waitTime has looked at it
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	for {
		leaf, changed, err := h.agent.Leaf(r.Context(), service)
		if err != nil {
			return nil, err
		}
		if has == leaf.ModifyIndex && ctx.Err() == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
			}
		}
		return &api.Answer{Header: map[string]string{"X-Consul-Index": strconv.FormatUint(leaf.ModifyIndex, 10)}, Body: leaf}, r.Context().Err()
	}
}
