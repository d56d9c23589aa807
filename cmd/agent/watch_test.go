package main

import (
	"strings"
	"testing"
)

// Without a command to run an error ends it, as it does Consul's.
func TestWatch_AskedOnceTellsOfAnError(t *testing.T) {
	serve(t, map[string]string{"GET /v1/agent/self": `{"Config":{"NodeName":"n"}}`, "GET /v1/agent/self?dc=nope": `{"Config":{"NodeName":"n"}}`})
	out, errOut, code := muster(t, "watch", "-type=nodes", "-datacenter=nope")
	if code != 1 || out != "" || !strings.HasPrefix(errOut, "Error querying Consul agent: Unexpected response code: 500 (no answer to GET /v1/catalog/nodes?dc=nope") {
		t.Errorf("code %d: %s%s", code, out, errOut)
	}
}
