package e2e

import (
	"errors"
	"fmt"
	"time"

	consul "github.com/hashicorp/consul/api"
	"github.com/hashicorp/serf/coordinate"
)

func someCoordinate() *coordinate.Coordinate {
	c := coordinate.NewCoordinate(coordinate.DefaultConfig())
	c.Vec[0] = 0.25
	return c
}

// server is that of two agents that is one.
func (a *agent) server(other *agent) *agent {
	if a.isClient {
		return other
	}
	return a
}

func operatorCall(method, endpoint string, ask func(*consul.Operator) error) call {
	return call{method: "Operator." + method, endpoint: endpoint, ask: func(c *consul.Client) error { return ask(c.Operator()) }}
}

const raftPeer = "DELETE /v1/operator/raft/peer"

var operatorCalls = []call{
	{method: "Operator.RaftGetConfiguration", check: func(c client) {
		got, err := c.Operator().RaftGetConfiguration(nil)
		c.want(err, len(got.Servers) == 1 && got.Servers[0].Leader && got.Servers[0].Voter && got.Index > 0, "%+v", got)
	}},
	operatorCall("RaftLeaderTransfer", "POST /v1/operator/raft/transfer-leader", func(o *consul.Operator) error { _, err := o.RaftLeaderTransfer("", nil); return err }),
	operatorCall("RaftRemovePeerByAddress", raftPeer, func(o *consul.Operator) error { return o.RaftRemovePeerByAddress("192.0.2.250:8300", nil) }),
	operatorCall("RaftRemovePeerByID", raftPeer, func(o *consul.Operator) error {
		return o.RaftRemovePeerByID("ffffffff-ffff-ffff-ffff-ffffffffffff", nil)
	}),
	{method: "Operator.AutopilotSetConfiguration", check: func(c client) {
		set := consul.NewAutopilotConfiguration()
		set.UpgradeVersionTag = "of " + c.agent.name
		err := c.Operator().AutopilotSetConfiguration(&set, nil)
		c.want(err, true, "")
	}},
	{method: "Operator.AutopilotGetConfiguration", check: func(c client) {
		got, err := c.Operator().AutopilotGetConfiguration(nil)
		c.want(err, got != nil && got.CleanupDeadServers && got.ModifyIndex > 0 && got.LastContactThreshold.String() == "200ms", "%+v", got)
	}},
	{method: "Operator.AutopilotCASConfiguration", check: func(c client) {
		old := consul.NewAutopilotConfiguration()
		old.ModifyIndex = 1
		done, err := c.Operator().AutopilotCASConfiguration(&old, nil)
		c.want(err, !done, "done")
	}},
	operatorCall("AutopilotServerHealth", "GET /v1/operator/autopilot/health", func(o *consul.Operator) error { _, err := o.AutopilotServerHealth(nil); return err }),
	operatorCall("AutopilotState", "GET /v1/operator/autopilot/state", func(o *consul.Operator) error { _, err := o.AutopilotState(nil); return err }),
	operatorCall("KeyringList", "GET /v1/operator/keyring", func(o *consul.Operator) error { _, err := o.KeyringList(nil); return err }),
	operatorCall("KeyringInstall", "POST /v1/operator/keyring", func(o *consul.Operator) error {
		return o.KeyringInstall("pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=", nil)
	}),
	operatorCall("KeyringUse", "PUT /v1/operator/keyring", func(o *consul.Operator) error {
		return o.KeyringUse("pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=", nil)
	}),
	operatorCall("KeyringRemove", "DELETE /v1/operator/keyring", func(o *consul.Operator) error {
		return o.KeyringRemove("pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=", nil)
	}),
	operatorCall("Usage", "GET /v1/operator/usage", func(o *consul.Operator) error { _, _, err := o.Usage(nil); return err }),
	// What is Consul Enterprise's, and what came after 1.21, is nowhere.
	operatorCall("FeatureGateList", "GET /v1/operator/features", func(o *consul.Operator) error { _, _, err := o.FeatureGateList(nil); return err }),
	operatorCall("FeatureGateGet", "GET /v1/operator/features/{name}", func(o *consul.Operator) error { _, _, err := o.FeatureGateGet("x", nil); return err }),
	operatorCall("FeatureGateSet", "PUT /v1/operator/features/{name}", func(o *consul.Operator) error { _, err := o.FeatureGateSet("x", true, 0, nil); return err }),
	operatorCall("AreaCreate", "POST /v1/operator/area", func(o *consul.Operator) error {
		_, _, err := o.AreaCreate(&consul.Area{PeerDatacenter: "dc2"}, nil)
		return err
	}),
	operatorCall("AreaUpdate", "PUT /v1/operator/area/{id}", func(o *consul.Operator) error { _, _, err := o.AreaUpdate("x", &consul.Area{}, nil); return err }),
	operatorCall("AreaGet", "GET /v1/operator/area/{id}", func(o *consul.Operator) error { _, _, err := o.AreaGet("x", nil); return err }),
	operatorCall("AreaList", "GET /v1/operator/area", func(o *consul.Operator) error { _, _, err := o.AreaList(nil); return err }),
	operatorCall("AreaDelete", "DELETE /v1/operator/area/{id}", func(o *consul.Operator) error { _, err := o.AreaDelete("x", nil); return err }),
	operatorCall("AreaJoin", "PUT /v1/operator/area/{id}/join", func(o *consul.Operator) error { _, _, err := o.AreaJoin("x", []string{"192.0.2.1"}, nil); return err }),
	operatorCall("AreaMembers", "GET /v1/operator/area/{id}/members", func(o *consul.Operator) error { _, _, err := o.AreaMembers("x", nil); return err }),
	operatorCall("AuditHash", "POST /v1/operator/audit-hash", func(o *consul.Operator) error {
		_, err := o.AuditHash(&consul.AuditHashRequest{Input: "x"}, nil)
		return err
	}),
	operatorCall("LicenseGet", "GET /v1/operator/license", func(o *consul.Operator) error { _, err := o.LicenseGet(nil); return err }),
	operatorCall("LicenseGetSigned", "GET /v1/operator/license", func(o *consul.Operator) error { _, err := o.LicenseGetSigned(nil); return err }),
	operatorCall("LicenseReset", "DELETE /v1/operator/license", func(o *consul.Operator) error { _, err := o.LicenseReset(nil); return err }),
	operatorCall("LicensePut", "PUT /v1/operator/license", func(o *consul.Operator) error { _, err := o.LicensePut("x", nil); return err }),
	operatorCall("SegmentList", "GET /v1/operator/segment", func(o *consul.Operator) error { _, _, err := o.SegmentList(nil); return err }),
}

// memberStatus waits until the server sees a member so, 0 being unknown.
func (c client) memberStatus(name string, want int) {
	c.t.Helper()
	eventually(c.t, 40*time.Second, fmt.Sprintf("%s has status %d", name, want), func() error {
		members, err := c.agent.server(c.other).consul().Agent().Members(false)
		got := 0
		for _, m := range members {
			if m.Name == name {
				got = m.Status
			}
		}
		if err == nil && got != want {
			err = fmt.Errorf("status %d", got)
		}
		return err
	})
}

const (
	memberLeft   = 3
	memberFailed = 4
)

// lastCalls undo what the others did, take the guest out of the cluster in every
// way there is, and in the end the agent itself.
var lastCalls = []call{
	{method: "Agent.CheckDeregister", check: func(c client) {
		c.want(c.Agent().CheckDeregister("extra"), true, "")
		checks, err := c.Agent().Checks()
		c.want(err, checks["extra"] == nil, "%v", checks)
	}},
	{method: "Agent.CheckDeregisterOpts", check: func(c client) {
		c.want(c.Agent().CheckDeregisterOpts("node", &consul.QueryOptions{}), true, "")
		checks, err := c.Agent().Checks()
		c.want(err, checks["node"] == nil, "%v", checks)
	}},
	{method: "Agent.ServiceDeregister", check: func(c client) {
		c.want(c.Agent().ServiceDeregister("own"), true, "")
		services, err := c.Agent().Services()
		c.want(err, len(services) == 0, "%v", services)
	}},
	{method: "Agent.ServiceDeregisterOpts", check: func(c client) {
		if err := c.Agent().ServiceDeregisterOpts("own", &consul.QueryOptions{}); err == nil {
			c.t.Error("a service that is gone is deregistered again")
		}
	}},
	{method: "Agent.ForceLeave", check: func(c client) {
		c.guest.kill()
		c.memberStatus(c.guest.name, memberFailed)
		c.want(c.Agent().ForceLeave(c.guest.name), true, "")
		c.memberStatus(c.guest.name, memberLeft)
	}},
	{method: "Agent.ForceLeavePrune", check: func(c client) {
		c.want(c.Agent().ForceLeavePrune(c.guest.name), true, "")
		c.memberStatus(c.guest.name, 0)
	}},
	{method: "Agent.ForceLeaveOpts", check: func(c client) {
		if err := c.Agent().ForceLeaveOpts("nobody", consul.ForceLeaveOpts{}); err == nil {
			c.t.Error("nobody can leave")
		}
	}},
	{method: "Agent.ForceLeaveOptions", check: func(c client) {
		if err := c.Agent().ForceLeaveOptions("nobody", consul.ForceLeaveOpts{Prune: true}, &consul.QueryOptions{}); err == nil {
			c.t.Error("nobody can leave")
		}
	}},
	{method: "Agent.Leave", check: func(c client) {
		c.want(c.Agent().Leave(), true, "")
		if code := c.agent.waitExit(30 * time.Second); code != 0 {
			c.want(errors.New("it ended badly"), false, "exit code %d", code)
		}
	}},
}
