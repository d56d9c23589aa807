package agentapi

import (
	"testing"

	"muster/api"
)

// A service's Check that says nothing is none, as in Consul. One that says anything is
// left to the agent to judge, and so is an empty one of Checks.
func TestService_AnEmptyCheckIsNone(t *testing.T) {
	for body, want := range map[string]int{
		`{"Name":"a"}`:                                    0,
		`{"Name":"a","Check":null}`:                       0,
		`{"Name":"a","Check":{}}`:                         0,
		`{"Name":"a","Check":{"Name":"x"}}`:               1,
		`{"Name":"a","Check":{"Header":{}}}`:              1,
		`{"Name":"a","Checks":[{}]}`:                      1,
		`{"Name":"a","Check":{},"Checks":[{"TTL":"1h"}]}`: 1,
	} {
		var b serviceBody
		if err := api.Decode([]byte(body), &b); err != nil {
			t.Fatal(body, err)
		}
		if _, checks, err := b.service(); err != nil || len(checks) != want {
			t.Errorf("%s: %d checks, want %d: %v", body, len(checks), want, err)
		}
	}
}
