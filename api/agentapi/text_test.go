package agentapi

import (
	"testing"

	"muster/api"
)

func TestHealthAnswer_TextByAccept(t *testing.T) {
	a := healthAnswer(&api.Request{Accept: "text/plain"}, 200, "passing", nil)
	raw, ok := a.Body.(api.Raw)
	if !ok || string(raw.Data) != "passing" {
		t.Errorf("the body is %v, want the bare status", a.Body)
	}
	if a = healthAnswer(&api.Request{Accept: "*/*"}, 200, "passing", "json"); a.Body != "json" {
		t.Errorf("the body is %v, want the one given", a.Body)
	}
}
