package main

import (
	"slices"
	"strings"
	"testing"
)

func TestKeyring_PrintsWhatConsulPrints(t *testing.T) {
	a := serve(t, map[string]string{
		"GET /v1/operator/keyring": `[{"WAN":true,"Datacenter":"dc1","Segment":"","Keys":{"new=":1,"old=":1},"PrimaryKeys":{"old=":1},"NumNodes":1},
 {"WAN":false,"Datacenter":"dc1","Segment":"","Messages":{"n2":"has no file"},"Keys":{"new=":2,"old=":3},"PrimaryKeys":{"old=":3},"NumNodes":3}]`,
		"GET /v1/operator/keyring?local-only=true": `[{"WAN":false,"Datacenter":"dc1","Keys":{"old=":3},"NumNodes":3}]`,
		"POST /v1/operator/keyring":                ``,
		"PUT /v1/operator/keyring":                 ``,
		"DELETE /v1/operator/keyring":              ``,
	})
	for _, tc := range []struct {
		args, out, err string // out whole, err a part
		code           int
	}{
		{"-list", "==> Gathering installed encryption keys...\n\nWAN:\n  new= [1/1]\n  old= [1/1]\n\ndc1 (LAN):\n  n2: has no file\n  new= [2/3]\n  old= [3/3]\n", "", 0},
		{"-list-primary", "==> Gathering installed primary encryption keys...\n\nWAN:\n  old= [1/1]\n\ndc1 (LAN):\n  n2: has no file\n  old= [3/3]\n", "", 0},
		{"-list -local-only", "==> Gathering installed encryption keys...\n\ndc1 (LAN):\n  old= [3/3]\n", "", 0},
		{"-install=k1", "==> Installing new gossip encryption key...\n", "", 0},
		{"-use=k2", "==> Changing primary gossip encryption key...\n", "", 0},
		{"-remove=k3", "==> Removing gossip encryption key...\n", "", 0},
		{"-remove=k3 -relay-factor=3", "==> Removing gossip encryption key...\n", "error: Unexpected response code: 500", 1}, // a request that has no answer here
		{"", "", "Usage: muster keyring", 1},
		{"-list -use=k", "", "Only a single action is allowed", 1},
		{"-use=k -local-only", "", "Error validating local-only: local-only can only be set for list requests", 1},
		{"-list -relay-factor=6", "", "Error parsing relay factor: Relay factor must be in range: [0, 5]", 1},
		{"x", "", "Too many arguments", 1},
	} {
		out, errOut, code := muster(t, append([]string{"keyring"}, strings.Fields(tc.args)...)...)
		if code != tc.code || out != tc.out || !strings.Contains(errOut, tc.err) {
			t.Errorf("keyring %s: code %d\n%s%s", tc.args, code, out, errOut)
		}
	}
	for _, sent := range []string{`POST /v1/operator/keyring {"Key":"k1"}`, `PUT /v1/operator/keyring {"Key":"k2"}`, `DELETE /v1/operator/keyring {"Key":"k3"}`} {
		if !slices.ContainsFunc(a.requests, func(r string) bool { return strings.HasPrefix(r, sent) }) {
			t.Errorf("no request begins %s:\n%s", sent, strings.Join(a.requests, "\n"))
		}
	}
}
