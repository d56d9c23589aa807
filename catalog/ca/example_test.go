package ca_test

import (
	"fmt"
	"time"

	"muster/catalog/ca"
)

// An authority signs what an agent asks for on behalf of a service.
func Example() {
	cfg, shown, err := ca.ParseJSON([]byte(`{"LeafCertTTL": "24h"}`))
	if err != nil {
		panic(err)
	}
	now := time.Now()
	authority, err := ca.New(cfg, shown, "11111111-2222-3333-4444-555555555555", now)
	if err != nil {
		panic(err)
	}

	// The agent: its key stays with it.
	root := authority.Active()
	key, request, err := ca.Request(ca.ServiceURI(authority.TrustDomain(), "dc1", "web"), root.KeyType, root.KeyBits)
	if err != nil {
		panic(err)
	}

	// The leader.
	csr, id, err := ca.Requested(authority, "dc1", request)
	if err != nil {
		panic(err)
	}
	leaf, err := ca.Sign(authority, csr, now)
	if err != nil {
		panic(err)
	}
	fmt.Println(id.Service, leaf.URI)
	fmt.Println(key)
	// Output:
	// web spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/web
	// hidden
}
