package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestExportedServices_PrintsWhatConsulPrints(t *testing.T) {
	serve(t, map[string]string{
		"GET /v1/exported-services":                       `[{"Service":"db","Consumers":{"Peers":["p1","p4"]}},{"Service":"ghost","Consumers":{}}]`,
		"GET /v1/exported-services?filter=Service+%3D%3D": `[]`,
	})
	for _, tc := range []struct {
		args     string
		out, err string
		code     int
	}{
		{"", "Service  Consumer Peers\ndb       p1, p4\nghost    \n", "", 0},
		{"-format=json", `[
    {
        "Service": "db",
        "Consumers": {
            "Peers": [
                "p1",
                "p4"
            ]
        }
    },
    {
        "Service": "ghost",
        "Consumers": {}
    }
]
`, "", 0},
		{"-format=x", "", "Invalid format, valid formats are {pretty|json}\n", 1},
		{"x", "", "Too many arguments (expected 0, got 1)\n", 1},
	} {
		out, errOut, code := muster(t, append([]string{"services", "exported-services"}, strings.Fields(tc.args)...)...)
		if out != tc.out || errOut != tc.err || code != tc.code {
			t.Errorf("%s: code %d\n%s%s", tc.args, code, out, errOut)
		}
	}
	if out, _, code := muster(t, "services", "exported-services", "-filter=Service =="); out != "No exported services found\n" || code != 0 {
		t.Errorf("none: code %d, %s", code, out)
	}
}

// The entry keeps what it has, gets each consumer once, and is written only over what
// was read.
func TestServicesExport_AddsToTheEntry(t *testing.T) {
	const path = "/v1/config/exported-services/default"
	for _, tc := range []struct {
		name, entry, args, sent, out string
	}{
		{"none yet", "", "-name=web -consumer-peers=p1,p2",
			`PUT /v1/config?cas=0 {"Kind":"exported-services","Name":"default","Services":[{"Name":"web","Consumers":[{"Peer":"p1"},{"Peer":"p2"}]}],"CreateIndex":0,"ModifyIndex":0}`,
			"Successfully exported service \"web\" to cluster peers \"p1,p2\"\n"},
		{"one more", `{"Kind":"exported-services","Name":"default","Services":[{"Name":"web","Consumers":[{"Peer":"p1"}]}],"CreateIndex":3,"ModifyIndex":7}`,
			"-name=web -consumer-peers=p1,p2 -consumer-partitions=x",
			`PUT /v1/config?cas=7 {"Kind":"exported-services","Name":"default","Services":[{"Name":"web","Consumers":[{"Peer":"p1"},{"Peer":"p2"},{"Partition":"x"}]}],"CreateIndex":3,"ModifyIndex":7}`,
			"Successfully exported service \"web\" to cluster peers \"p1,p2\" and to partitions \"x\"\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			agent := &api{answers: map[string]string{"GET " + path: tc.entry, "PUT /v1/config?cas=0": "true", "PUT /v1/config?cas=7": "true"}}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if tc.entry == "" && r.Method == http.MethodGet {
					http.Error(w, "Config entry not found", http.StatusNotFound)
					return
				}
				agent.ServeHTTP(w, r)
			}))
			defer server.Close()
			t.Setenv("CONSUL_HTTP_ADDR", server.URL)
			out, errOut, code := muster(t, append([]string{"services", "export"}, strings.Fields(tc.args)...)...)
			if out != tc.out || errOut != "" || code != 0 {
				t.Errorf("code %d\n%s%s", code, out, errOut)
			}
			if n := len(agent.requests); n == 0 || agent.requests[n-1] != tc.sent {
				t.Errorf("sent %q\nwant %s", agent.requests, tc.sent)
			}
		})
	}
}

func TestServicesExport_SaysWhatIsWrong(t *testing.T) {
	serve(t, map[string]string{"GET /v1/config/exported-services/default": `{"Kind":"exported-services","Name":"default","ModifyIndex":7}`, "PUT /v1/config?cas=7": "false"})
	for args, want := range map[string]string{
		"":                                 "Missing the required -name flag",
		"-name=web":                        "Missing the required -consumer-peers or -consumer-partitions flag",
		"-name=web -consumer-peers=p1,":    `Invalid peer ""`,
		"-name=web -consumer-partitions=,": `Invalid partition ""`,
		"-name=web -consumer-peers=p1 x":   "Too many arguments (expected 0, got 1)",
		"-name=web -consumer-peers=p1":     "Config entry not updated: exported-services/default was changed by another; try again",
	} {
		if out, errOut, code := muster(t, append([]string{"services", "export"}, strings.Fields(args)...)...); code != 1 || out != "" || strings.TrimSpace(errOut) != want {
			t.Errorf("%s: code %d, %s%s\nwant %s", args, code, out, errOut, want)
		}
	}
}
