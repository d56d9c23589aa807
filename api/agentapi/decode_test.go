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

// Names in snake case count at any depth of what has fields, and nowhere in what is
// free-form.
func TestService_NamesInSnakeCase(t *testing.T) {
	body := `{"name":"a","connect":{"sidecar_service":{"proxy":{
		"local_service_port":3, "config":{"keep_me":{"local_bind_port":1}}, "mesh_gateway":{"mode":"local"},
		"upstreams":[{"destination_name":"b","local_bind_port":1,"config":{"a_b":1}},null,{"DestinationName":"c","Local_Bind_Port":2}],
		"expose":{"paths":[{"path":"/h","listener_port":5,"local_path_port":6}]}}}}}`
	var b serviceBody
	if err := api.Decode([]byte(body), &b); err != nil {
		t.Fatal(err)
	}
	p := b.Connect.SidecarService.Proxy
	if len(p.Upstreams) != 3 || p.Upstreams[0].DestinationName != "b" || p.Upstreams[0].LocalBindPort != 1 || p.Upstreams[2].LocalBindPort != 2 {
		t.Errorf("upstreams %+v", p.Upstreams)
	}
	if p.LocalServicePort != 3 || p.MeshGateway.Mode != "local" || p.Expose.Paths[0].ListenerPort != 5 || p.Expose.Paths[0].LocalPathPort != 6 {
		t.Errorf("proxy %+v", p)
	}
	if p.Config["keep_me"].(map[string]any)["local_bind_port"] == nil || p.Upstreams[0].Config["a_b"] == nil {
		t.Errorf("free-form configuration was changed: %v %v", p.Config, p.Upstreams[0].Config)
	}
	for _, bad := range []string{
		`{"name":"a","proxy":{"upstreams":[{"local_bind_ports":1}]}}`, `{"name":"a","proxy":{"upstreams":{"local_bind_port":1}}}`,
		`{"name":"a","proxy":{"upstreams":[{"local_bind_port":"_"}]}}`, `{"name":"a","proxy":{"expose":["_"]}}`, `{"name":"a","proxy":"_"}`,
	} {
		if err := api.Decode([]byte(bad), &serviceBody{}); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
