package connectapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
	"muster/catalog/ca"
	"muster/catalog/state"
)

// Roots are the certificates that the services of a cluster are verified by. Its JSON
// form is the API's.
type Roots struct {
	ActiveRootID string
	TrustDomain  string
	Roots        []Root
}

// Root is one of them.
type Root struct {
	ID                  string
	Name                string
	SerialNumber        uint64
	SigningKeyID        string
	ExternalTrustDomain string
	NotBefore           time.Time
	NotAfter            time.Time
	RootCert            string
	IntermediateCerts   []string
	Active              bool
	PrivateKeyType      string
	PrivateKeyBits      int
	CreateIndex         uint64
	ModifyIndex         uint64
}

// configuration is what the authority is set to, as the API gives and takes it.
type configuration struct {
	Provider                 string
	Config                   json.RawMessage
	State                    map[string]string
	ForceWithoutCrossSigning bool
	CreateIndex              uint64
	ModifyIndex              uint64
}

// provider is the only one there is.
const provider = "consul"

var (
	errDisabled = catalog.Errorf(catalog.Internal, "Connect must be enabled in order to use this endpoint")
	errNoneYet  = catalog.Errorf(catalog.Unavailable, "CA is uninitialized and unable to sign certificates yet: no leader has made its root so far")
)

// Routes gives the rows of an agent. Where connect is not enabled they refuse.
func Routes(enabled bool) []api.Route {
	h := handlers{enabled}
	pem := api.Param{Name: "pem", Doc: "true gives the certificates alone, in PEM"}
	return []api.Route{
		{
			Method: http.MethodGet, Path: "/v1/connect/ca/roots", Kind: api.Read,
			Doc:    "Lists the root certificates that services are verified by.",
			Params: []api.Param{pem},
			Answer: Roots{}, View: h.roots, Plain: true,
		},
		{
			Method: http.MethodGet, Path: "/v1/agent/connect/ca/roots", Kind: api.Read,
			Doc:    "Lists the root certificates that services are verified by.",
			Answer: Roots{}, View: h.roots, Plain: true,
		},
		{
			Method: http.MethodGet, Path: "/v1/connect/ca/configuration", Kind: api.Read,
			Doc:    "Reads the settings of the certificate authority.",
			ACL:    api.Rule{Resource: acl.Operator, Access: acl.Read},
			Answer: configuration{}, View: h.configuration, Plain: true,
		},
		{
			Method: http.MethodPut, Path: "/v1/connect/ca/configuration", Kind: api.Write,
			Doc:  "Changes the settings of the certificate authority; with another key there is a new root.",
			ACL:  api.Rule{Resource: acl.Operator, Access: acl.Write},
			Body: configuration{}, Edit: h.configure,
		},
	}
}

type handlers struct{ enabled bool }

func (h handlers) roots(v *state.View, r *api.Request) (any, error) {
	if !h.enabled {
		return nil, errDisabled
	}
	alone := false
	if text := r.Query.Get("pem"); text != "" {
		var err error
		if alone, err = strconv.ParseBool(text); err != nil {
			return nil, catalog.Errorf(catalog.Invalid, "The 'pem' query parameter must be a boolean value")
		}
	}
	roots := rootsOf(v.CA())
	if !alone || r.Streams {
		return roots, nil
	}
	var certs strings.Builder
	for _, root := range roots.Roots {
		certs.WriteString(root.RootCert)
	}
	return &api.Answer{Body: api.Raw{ContentType: "application/pem-certificate-chain", Data: []byte(certs.String())}}, nil
}

// rootsOf lists the roots, the one that signs first. There are none before the first
// leader has made one.
func rootsOf(a *catalog.CA) Roots {
	if a == nil {
		return Roots{Roots: []Root{}}
	}
	active := a.Active()
	answer := Roots{ActiveRootID: active.ID, TrustDomain: a.TrustDomain(), Roots: []Root{}}
	for i := len(a.Roots) - 1; i >= 0; i-- {
		r := &a.Roots[i]
		root := Root{
			ID: r.ID, Name: r.Name, SerialNumber: r.Serial, SigningKeyID: r.KeyID, ExternalTrustDomain: a.ClusterID,
			NotBefore: time.Unix(r.NotBefore, 0).UTC(), NotAfter: time.Unix(r.NotAfter, 0).UTC(), RootCert: r.Cert,
			Active: r.ID == active.ID, PrivateKeyType: r.KeyType, PrivateKeyBits: r.KeyBits,
			CreateIndex: r.CreateIndex, ModifyIndex: r.ModifyIndex,
		}
		if root.Active {
			root.IntermediateCerts = ca.Links(a)
		}
		answer.Roots = append(answer.Roots, root)
	}
	return answer
}

func (h handlers) configuration(v *state.View, _ *api.Request) (any, error) {
	if !h.enabled {
		return nil, errDisabled
	}
	a := v.CA()
	if a == nil {
		return nil, errNoneYet
	}
	cfg, _, err := ca.ParseJSON(a.Config)
	if err != nil {
		return nil, err
	}
	return configuration{
		Provider: provider, Config: a.Config, State: cfg.TestState, ForceWithoutCrossSigning: a.Unlinked,
		CreateIndex: a.CreateIndex, ModifyIndex: a.ModifyIndex,
	}, nil
}

// configure makes the command that changes the settings.
func (h handlers) configure(v *state.View, r *api.Request) (catalog.Command, any, error) {
	if !h.enabled {
		return nil, nil, errDisabled
	}
	var body configuration
	if err := api.Decode(r.Body, &body); err != nil {
		return nil, nil, err
	}
	switch {
	case body.Provider != provider:
		return nil, nil, catalog.Errorf(catalog.Invalid, "could not initialize provider: unknown CA provider %q; %q is the only one", body.Provider, provider)
	case len(body.State) > 0:
		return nil, nil, catalog.Errorf(catalog.Invalid, "State is what a provider keeps for itself; it can't be set")
	case len(body.Config) == 0:
		body.Config = []byte("{}")
	}
	cfg, shown, err := ca.ParseJSON(body.Config)
	if err != nil {
		return nil, nil, err
	}
	old := v.CA()
	switch {
	case old == nil:
		return nil, nil, errNoneYet
	case body.ModifyIndex != 0 && body.ModifyIndex != old.ModifyIndex:
		return nil, nil, catalog.Errorf(catalog.Conflict, "ModifyIndex did not match existing")
	}
	next, err := ca.Reconfigure(old, cfg, shown, body.ForceWithoutCrossSigning, time.Now())
	if err != nil || next.Same(old) {
		return nil, nil, err
	}
	return &catalog.SetCA{CA: *next, Index: old.ModifyIndex}, nil, nil
}
