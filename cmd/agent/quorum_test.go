package main

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	consul "github.com/hashicorp/consul/api"
)

const stateJSON = `{"Healthy":true,"FailureTolerance":0,"OptimisticFailureTolerance":0,"Leader":"id1","Voters":["id1"],"Servers":{"id1":
 {"ID":"id1","Name":"s1","Address":"127.0.0.1:8300","NodeStatus":"alive","Version":"1.21.4","LastContact":"0s","LastTerm":2,"LastIndex":17,
  "Healthy":true,"StableSince":"2026-11-23T08:16:16Z","ReadReplica":false,"Status":"leader","Meta":{"b":"2","a":"1"},"NodeType":"voter"}}}`

const autopilotJSON = `{"CleanupDeadServers":true,"LastContactThreshold":"200ms","MaxTrailingLogs":250,"MinQuorum":3,"ServerStabilizationTime":"10s",
 "RedundancyZoneTag":"","DisableUpgradeMigration":false,"UpgradeVersionTag":"","CreateIndex":4,"ModifyIndex":7}`

func TestOperator_ServersAndLeadership(t *testing.T) {
	a := serve(t, map[string]string{
		"GET /v1/agent/self":                                     `{"Config":{"NodeID":"id1"}}`,
		"GET /v1/operator/raft/stop-safe":                        `[{"ID":"id1","Node":"s1","Safe":true,"Reason":"without it 2 voters are sound and 2 are needed"},{"ID":"id2","Node":"s2","Safe":false,"Reason":"a disk is full"}]`,
		"POST /v1/operator/raft/transfer-leader":                 `{"Success":true}`,
		"POST /v1/operator/raft/transfer-leader?id=id2":          `{"Success":true}`,
		"DELETE /v1/operator/raft/peer?id=id3":                   ``,
		"DELETE /v1/operator/raft/peer?address=127.0.0.3%3A8300": ``,
		"GET /v1/operator/autopilot/state":                       stateJSON,
		"GET /v1/operator/autopilot/configuration":               autopilotJSON,
		"PUT /v1/operator/autopilot/configuration?cas=7":         `true`,
	})
	for _, tc := range []struct {
		args, out, err string // out whole, err a part
		code           int
	}{
		{"raft safe-to-stop", "Safe to stop s1: without it 2 voters are sound and 2 are needed\n", "", 0},
		{"raft safe-to-stop -id=id1", "Safe to stop s1: without it 2 voters are sound and 2 are needed\n", "", 0},
		{"raft safe-to-stop -node=s2", "", "Not safe to stop s2: a disk is full", 1},
		{"raft safe-to-stop -node=zz", "", `no server "zz" in the Raft configuration`, 1},
		{"raft safe-to-stop -node=zz -id=a", "", "cannot give both", 1},
		{"raft transfer-leader", "Success: true\n", "", 0},
		{"raft transfer-leader -id=id2", "Success: true\n", "", 0},
		{"raft transfer-leader -id=zz", "", "Error transfering leadership: Failed to transfer leadership Unexpected response code: 500", 1},
		{"raft remove-peer", "", "Error removing peer: an address or id is required for the peer to remove", 1},
		{"raft remove-peer -id=a -address=b", "", "Error removing peer: cannot give both an address and id", 1},
		{"raft remove-peer -id=id3", "Removed peer with id \"id3\"\n", "", 0},
		{"raft remove-peer -address=127.0.0.3:8300", "Removed peer with address \"127.0.0.3:8300\"\n", "", 0},
		{"raft remove-peer -id=zz", "", "Error removing peer: Unexpected response code: 500", 1},
		{"autopilot get-config", `CleanupDeadServers = true
LastContactThreshold = 200ms
MaxTrailingLogs = 250
MinQuorum = 3
ServerStabilizationTime = 10s
RedundancyZoneTag = ""
DisableUpgradeMigration = false
UpgradeVersionTag = ""
`, "", 0},
		{"autopilot set-config -cleanup-dead-servers=false -last-contact-threshold=1s", "Configuration updated!\n", "", 0},
		{"autopilot set-config -max-trailing-logs=x", "", "max-trailing-logs", 1},
		{"autopilot set-config -datacenter=dc2", "", "Error querying Autopilot configuration: Unexpected response code: 500 (no answer to GET /v1/operator/autopilot/configuration?dc=dc2", 1},
		{"raft remove-peer -id=id3 -datacenter=dc2", "", "no answer to DELETE /v1/operator/raft/peer?dc=dc2&id=id3", 1},
		{"autopilot state -format=xml", "", "Unknown format: xml", 1},
		{"autopilot set-config x", "", "Too many arguments", 1},
		{"autopilot state", `Healthy:                      true
Failure Tolerance:            0
Optimistic Failure Tolerance: 0
Leader:                       id1
Voters:
   id1
Servers:
   id1
      Name:            s1
      Address:         127.0.0.1:8300
      Version:         1.21.4
      Status:          leader
      Node Type:       voter
      Node Status:     alive
      Healthy:         true
      Last Contact:    0s
      Last Term:       2
      Last Index:      17
      Meta
         "a": "1"
         "b": "2"

`, "", 0},
	} {
		out, errOut, code := muster(t, append([]string{"operator"}, strings.Fields(tc.args)...)...)
		if code != tc.code || out != tc.out || !strings.Contains(errOut, tc.err) {
			t.Errorf("operator %s: code %d\n%s%s\nrequests %q", tc.args, code, out, errOut, a.requests)
		}
	}
	// What no flag names is sent as it was.
	sent := `PUT /v1/operator/autopilot/configuration?cas=7 {"CleanupDeadServers":false,"LastContactThreshold":"1s","MaxTrailingLogs":250,"MinQuorum":3,"ServerStabilizationTime":"10s",`
	if !slices.ContainsFunc(a.requests, func(r string) bool { return strings.HasPrefix(r, sent) }) {
		t.Errorf("no request begins %s:\n%s", sent, strings.Join(a.requests, "\n"))
	}
}

// The state as JSON reads back as the one that was asked for.
func TestAutopilotState_AsJSON(t *testing.T) {
	serve(t, map[string]string{"GET /v1/operator/autopilot/state": stateJSON})
	out, errOut, code := muster(t, "operator", "autopilot", "state", "-format=json")
	var got, want consul.AutopilotState
	if err := errors.Join(json.Unmarshal([]byte(out), &got), json.Unmarshal([]byte(stateJSON), &want)); err != nil || code != 0 || errOut != "" {
		t.Fatalf("code %d, %v: %s%s", code, err, out, errOut)
	}
	if !reflect.DeepEqual(got, want) || !strings.HasPrefix(out, "{\n    \"Healthy\": true,\n") {
		t.Errorf("prints\n%s", out)
	}
}
