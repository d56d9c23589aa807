package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	consul "github.com/hashicorp/consul/api"
)

// client is the official client of one agent, as the rows below use it.
type client struct {
	*consul.Client
	t     *testing.T
	agent *agent // whom it asks
	other *agent // the other one of the cluster
	guest *agent // a third, which may be killed
}

// want fails unless a call went well and its answer is as it should be.
func (c client) want(err error, ok bool, format string, args ...any) {
	c.t.Helper()
	if err != nil || !ok {
		c.t.Errorf("error %v, answer %s", err, fmt.Sprintf(format, args...))
	}
}

// status waits until an agent's own check has a status.
func (c client) status(id, want string) {
	c.t.Helper()
	checks, err := c.Agent().Checks()
	c.want(err, checks[id] != nil && checks[id].Status == want, "%+v", checks[id])
}

// call is a row of the table: a method of the official client, and either what
// it has to do or the endpoint that it asks, for those that may not be here.
type call struct {
	method string
	check  func(c client)
	// endpoint is as docs/compatibility.md has it; ask gives the call's error.
	endpoint string
	ask      func(c *consul.Client) error
}

// TestOfficialClient_EveryMethod calls each method of the official client's
// Agent, Catalog, Health, Status, Event, Coordinate, PreparedQuery, KV, Session,
// Txn, Snapshot, ConfigEntries, Connect and Operator, against a client agent and a
// server. What docs/compatibility.md says is here answers; what it
// says isn't gives a clear error.
func TestOfficialClient_EveryMethod(t *testing.T) {
	calls := slices.Concat(agentCalls, catalogCalls, otherCalls, queryCalls, kvCalls, configCalls, connectCalls, operatorCalls, lastCalls)
	known := map[string]bool{}
	for _, one := range calls {
		known[one.method] = true
	}
	for _, area := range []any{
		(*consul.Agent)(nil), (*consul.Catalog)(nil), (*consul.Health)(nil), (*consul.Status)(nil), (*consul.Event)(nil), (*consul.Coordinate)(nil), (*consul.PreparedQuery)(nil),
		(*consul.KV)(nil), (*consul.Session)(nil), (*consul.Txn)(nil), (*consul.Snapshot)(nil), (*consul.ConfigEntries)(nil), (*consul.Connect)(nil), (*consul.Operator)(nil),
	} {
		typ := reflect.TypeOf(area)
		for i := range typ.NumMethod() {
			if method := typ.Elem().Name() + "." + typ.Method(i).Name; !known[method] {
				t.Errorf("nothing calls %s", method)
			}
		}
	}
	here := endpointsHere(t)

	cluster := newCluster(t)
	conf := writeFile(t, "empty.hcl", "")
	server := cluster.servers(1, "-config-file", conf, "-hcl", `gossip_lan { probe_interval = "200ms" }`)[0].start()
	clientAgent := cluster.client("client", "-config-file", conf).start()
	second := cluster.client("client-2").start()
	server.waitLeader()
	waitMembers(t, []*agent{server, clientAgent, second}, 3)
	for _, pair := range [][2]*agent{{clientAgent, server}, {server, second}} {
		guest := cluster.client("guest-of-" + pair[0].name).start()
		eventually(t, 20*time.Second, "the guest is in the catalog", func() error {
			node, _, err := server.consul().Catalog().Node(guest.name, nil)
			if err == nil && node == nil {
				err = errors.New("not there")
			}
			return err
		})
		for _, one := range calls {
			t.Run(pair[0].name+"/"+one.method, func(t *testing.T) {
				c := client{pair[0].consul(), t, pair[0], pair[1], guest}
				if one.check != nil {
					one.check(c)
					return
				}
				err := one.ask(c.Client)
				var status consul.StatusError
				absent := errors.As(err, &status) && status.Code == http.StatusNotFound
				if absent == here[one.endpoint] {
					t.Errorf("docs/compatibility.md says of %s that it is here: %v; the call says %v", one.endpoint, here[one.endpoint], err)
				}
				if absent && !strings.Contains(status.Body, "Invalid URL path") {
					t.Errorf("not clear: %v", err)
				}
			})
		}
	}
}

// endpointsHere gives the rows of docs/compatibility.md that are here.
func endpointsHere(t *testing.T) map[string]bool {
	t.Helper()
	page, err := os.ReadFile("../../../docs/compatibility.md")
	if err != nil {
		t.Fatal(err)
	}
	here := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(line, "|"); len(cells) > 3 && strings.Contains(cells[1], " `") && strings.TrimSpace(cells[2]) == "here" {
			here[strings.Trim(strings.TrimSpace(cells[1]), "`")] = true
		}
	}
	if len(here) < 40 {
		t.Fatalf("docs/compatibility.md lists only %d endpoints that are here; is it still read aright?", len(here))
	}
	return here
}

var errNoAnswer = errors.New("the monitor says nothing")

// heard waits for a line of the log.
func heard(c client, monitor func(string, <-chan struct{}, *consul.QueryOptions) (chan string, error)) (string, error) {
	stop := make(chan struct{})
	defer close(stop)
	lines, err := monitor("debug", stop, nil)
	if err != nil {
		return "", err
	}
	eventually(c.t, 20*time.Second, "a line of the log", func() error {
		if err := c.Agent().Reload(); err != nil { // which is logged
			return err
		}
		return register1(c, "noise")
	})
	select {
	case line := <-lines:
		return line, nil
	case <-time.After(20 * time.Second):
		return "", errNoAnswer
	}
}

// register1 registers a service that nobody asks for, and takes it back.
func register1(c client, id string) error {
	return errors.Join(c.Agent().ServiceRegister(&consul.AgentServiceRegistration{Name: id}), c.Agent().ServiceDeregister(id))
}

// tokenCall wants the refusal of an agent without ACLs, or for methods of former
// times the client's own.
func tokenCall(method, refusal string, update func(*consul.Agent, string, *consul.WriteOptions) (*consul.WriteMeta, error)) call {
	return call{method: "Agent." + method, check: func(c client) {
		if _, err := update(c.Agent(), "secret", nil); err == nil || !strings.Contains(err.Error(), refusal) {
			c.t.Errorf("error %v", err)
		}
	}}
}

const (
	noACLs = "ACL support disabled"
	legacy = "Legacy ACL Tokens were deprecated"
)

// The rows are in the order in which they are called: a service "own" with the
// checks "service:own" and "extra" comes first and goes last.
var agentCalls = []call{
	{method: "Agent.ServiceRegister", check: func(c client) {
		err := c.Agent().ServiceRegister(&consul.AgentServiceRegistration{
			Name: "own", Port: 80, Tags: []string{"v1"}, Meta: map[string]string{"k": "v"}, Check: &consul.AgentServiceCheck{TTL: "10m", CheckID: "first"},
		})
		c.want(err, true, "")
		c.status("first", consul.HealthCritical)
	}},
	{method: "Agent.ServiceRegisterOpts", check: func(c client) {
		err := c.Agent().ServiceRegisterOpts(&consul.AgentServiceRegistration{
			Name: "own", Port: 80, Tags: []string{"v1"}, Meta: map[string]string{"k": "v"}, Check: &consul.AgentServiceCheck{TTL: "10m"},
		}, consul.ServiceRegisterOpts{ReplaceExistingChecks: true})
		c.want(err, true, "")
		checks, err := c.Agent().Checks()
		c.want(err, checks["first"] == nil && checks["service:own"] != nil, "%v", checks)
	}},
	{method: "Agent.CheckRegister", check: func(c client) {
		c.want(c.Agent().CheckRegister(&consul.AgentCheckRegistration{ID: "extra", Name: "extra", ServiceID: "own", AgentServiceCheck: consul.AgentServiceCheck{TTL: "10m"}}), true, "")
		c.status("extra", consul.HealthCritical)
	}},
	{method: "Agent.CheckRegisterOpts", check: func(c client) {
		c.want(c.Agent().CheckRegisterOpts(&consul.AgentCheckRegistration{ID: "node", Name: "node", AgentServiceCheck: consul.AgentServiceCheck{TTL: "10m", Status: "passing"}}, &consul.QueryOptions{}), true, "")
		c.status("node", consul.HealthPassing)
	}},
	{method: "Agent.PassTTL", check: func(c client) {
		c.want(c.Agent().PassTTL("service:own", ""), true, "")
		c.status("service:own", consul.HealthPassing)
	}},
	{method: "Agent.FailTTL", check: func(c client) {
		c.want(c.Agent().FailTTL("extra", ""), true, "")
		c.status("extra", consul.HealthCritical)
	}},
	{method: "Agent.UpdateTTL", check: func(c client) {
		c.want(c.Agent().UpdateTTL("extra", "so", "pass"), true, "")
		c.status("extra", consul.HealthPassing)
	}},
	{method: "Agent.UpdateTTLOpts", check: func(c client) {
		c.want(c.Agent().UpdateTTLOpts("extra", "so", "fail", &consul.QueryOptions{}), true, "")
		c.status("extra", consul.HealthCritical)
	}},
	{method: "Agent.WarnTTL", check: func(c client) {
		c.want(c.Agent().WarnTTL("extra", "hm"), true, "")
		c.status("extra", consul.HealthWarning)
	}},
	{method: "Agent.Checks", check: func(c client) { c.status("node", consul.HealthPassing) }},
	{method: "Agent.ChecksWithFilter", check: func(c client) {
		got, err := c.Agent().ChecksWithFilter("Status == warning")
		c.want(err, len(got) == 1 && got["extra"] != nil && got["extra"].Output == "hm", "%v", got)
	}},
	{method: "Agent.ChecksWithFilterOpts", check: func(c client) {
		got, err := c.Agent().ChecksWithFilterOpts("ServiceName == own", &consul.QueryOptions{})
		c.want(err, len(got) == 2, "%v", got)
	}},
	{method: "Agent.Services", check: func(c client) {
		got, err := c.Agent().Services()
		c.want(err, len(got) == 1 && got["own"] != nil && got["own"].Port == 80, "%v", got)
	}},
	{method: "Agent.ServicesWithFilter", check: func(c client) {
		got, err := c.Agent().ServicesWithFilter("v1 in Tags")
		c.want(err, len(got) == 1, "%v", got)
	}},
	{method: "Agent.ServicesWithFilterOpts", check: func(c client) {
		got, err := c.Agent().ServicesWithFilterOpts("Meta.k == other", &consul.QueryOptions{})
		c.want(err, len(got) == 0, "%v", got)
	}},
	{method: "Agent.Service", check: func(c client) {
		got, meta, err := c.Agent().Service("own", nil)
		c.want(err, got != nil && got.Service == "own" && meta.LastContentHash != "" && got.ContentHash == meta.LastContentHash, "%+v %+v", got, meta)
	}},
	{method: "Agent.AgentHealthServiceByID", check: func(c client) {
		status, info, err := c.Agent().AgentHealthServiceByID("own")
		c.want(err, status == consul.HealthWarning && len(info.Checks) == 3, // the node's own among them
			"%s %+v", status, info)
	}},
	{method: "Agent.AgentHealthServiceByIDOpts", check: func(c client) {
		status, info, err := c.Agent().AgentHealthServiceByIDOpts("none", &consul.QueryOptions{})
		c.want(err, status == consul.HealthCritical && info == nil, "%s %+v", status, info)
	}},
	{method: "Agent.AgentHealthServiceByName", check: func(c client) {
		status, info, err := c.Agent().AgentHealthServiceByName("own")
		c.want(err, status == consul.HealthWarning && len(info) == 1 && info[0].Service.ID == "own", "%s %+v", status, info)
	}},
	{method: "Agent.AgentHealthServiceByNameOpts", check: func(c client) {
		status, info, err := c.Agent().AgentHealthServiceByNameOpts("own", &consul.QueryOptions{})
		c.want(err, status == consul.HealthWarning && len(info) == 1, "%s %+v", status, info)
	}},
	{method: "Agent.EnableServiceMaintenance", check: func(c client) {
		c.want(c.Agent().EnableServiceMaintenance("own", "paint"), true, "")
		c.status("_service_maintenance:own", consul.HealthCritical)
	}},
	{method: "Agent.EnableServiceMaintenanceOpts", check: func(c client) {
		c.want(c.Agent().EnableServiceMaintenanceOpts("own", "more paint", &consul.QueryOptions{}), true, "")
		status, _, err := c.Agent().AgentHealthServiceByID("own")
		c.want(err, status == consul.HealthMaint || status == consul.HealthCritical, "%s", status)
	}},
	{method: "Agent.DisableServiceMaintenance", check: func(c client) {
		c.want(c.Agent().DisableServiceMaintenance("own"), true, "")
		checks, err := c.Agent().Checks()
		c.want(err, checks["_service_maintenance:own"] == nil, "%v", checks)
	}},
	{method: "Agent.DisableServiceMaintenanceOpts", check: func(c client) {
		c.want(c.Agent().DisableServiceMaintenanceOpts("own", &consul.QueryOptions{}), true, "")
	}},
	{method: "Agent.EnableNodeMaintenance", check: func(c client) {
		c.want(c.Agent().EnableNodeMaintenance("move"), true, "")
		c.status("_node_maintenance", consul.HealthCritical)
	}},
	{method: "Agent.DisableNodeMaintenance", check: func(c client) {
		c.want(c.Agent().DisableNodeMaintenance(), true, "")
		checks, err := c.Agent().Checks()
		c.want(err, checks["_node_maintenance"] == nil, "%v", checks)
	}},
	{method: "Agent.Self", check: func(c client) {
		self, err := c.Agent().Self()
		c.want(err, self["Config"]["NodeName"] == c.agent.name && self["Config"]["Server"] == !c.agent.isClient && self["Member"]["Addr"] == c.agent.addr, "%v", self["Config"])
	}},
	{method: "Agent.NodeName", check: func(c client) {
		name, err := c.Agent().NodeName()
		c.want(err, name == c.agent.name, "%s", name)
	}},
	{method: "Agent.Host", check: func(c client) {
		host, err := c.Agent().Host()
		c.want(err, host["Memory"] != nil && host["CPU"] != nil && host["Host"] != nil, "%v", host)
	}},
	{method: "Agent.Version", check: func(c client) {
		version, err := c.Agent().Version()
		human, _ := version["HumanVersion"].(string)
		c.want(err, strings.HasPrefix(human, "1.21."), "%v", version)
	}},
	{method: "Agent.Metrics", check: func(c client) {
		metrics, err := c.Agent().Metrics()
		c.want(err, metrics != nil && len(metrics.Gauges) > 10 && metrics.Timestamp != "", "%v", metrics)
	}},
	{method: "Agent.MetricsStream", endpoint: "GET /v1/agent/metrics/stream", ask: func(c *consul.Client) error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		body, err := c.Agent().MetricsStream(ctx)
		if err == nil {
			err = body.Close()
		}
		return err
	}},
	{method: "Agent.Reload", check: func(c client) { c.want(c.Agent().Reload(), true, "") }},
	{method: "Agent.Monitor", check: func(c client) {
		line, err := heard(c, c.Agent().Monitor)
		c.want(err, strings.Contains(line, "[") && !strings.HasPrefix(line, "{"), "%s", line)
	}},
	{method: "Agent.MonitorJSON", check: func(c client) {
		line, err := heard(c, c.Agent().MonitorJSON)
		c.want(err, strings.HasPrefix(line, `{"@`), "%s", line)
	}},
	{method: "Agent.Members", check: func(c client) {
		members, err := c.Agent().Members(false)
		c.want(err, slices.ContainsFunc(members, func(m *consul.AgentMember) bool { return m.Name == c.other.name && m.Tags["impl"] == "muster" }), "%v", members)
	}},
	{method: "Agent.MembersOpts", check: func(c client) {
		members, err := c.Agent().MembersOpts(consul.MembersOpts{Segment: consul.AllSegments})
		c.want(err, len(members) >= 3, "%v", members)
	}},
	{method: "Agent.Join", check: func(c client) { c.want(c.Agent().Join(c.other.addr, false), true, "") }},
	{method: "Agent.ConnectAuthorize", endpoint: "POST /v1/agent/connect/authorize", ask: func(c *consul.Client) error {
		_, err := c.Agent().ConnectAuthorize(&consul.AgentAuthorizeParams{Target: "own"})
		return err
	}},
	{method: "Agent.ConnectCARoots", endpoint: "GET /v1/agent/connect/ca/roots", ask: func(c *consul.Client) error {
		_, _, err := c.Agent().ConnectCARoots(nil)
		return err
	}},
	{method: "Agent.ConnectCALeaf", endpoint: "GET /v1/agent/connect/ca/leaf/{service}", ask: func(c *consul.Client) error {
		_, _, err := c.Agent().ConnectCALeaf("own", nil)
		return err
	}},
	tokenCall("UpdateACLToken", legacy, (*consul.Agent).UpdateACLToken),
	tokenCall("UpdateACLAgentToken", legacy, (*consul.Agent).UpdateACLAgentToken),
	tokenCall("UpdateACLAgentMasterToken", legacy, (*consul.Agent).UpdateACLAgentMasterToken),
	tokenCall("UpdateACLReplicationToken", legacy, (*consul.Agent).UpdateACLReplicationToken),
	tokenCall("UpdateDefaultACLToken", noACLs, (*consul.Agent).UpdateDefaultACLToken),
	tokenCall("UpdateAgentACLToken", noACLs, (*consul.Agent).UpdateAgentACLToken),
	tokenCall("UpdateAgentRecoveryACLToken", noACLs, (*consul.Agent).UpdateAgentRecoveryACLToken),
	tokenCall("UpdateAgentMasterACLToken", noACLs, (*consul.Agent).UpdateAgentMasterACLToken),
	tokenCall("UpdateReplicationACLToken", noACLs, (*consul.Agent).UpdateReplicationACLToken),
	tokenCall("UpdateConfigFileRegistrationToken", noACLs, (*consul.Agent).UpdateConfigFileRegistrationToken),
	tokenCall("UpdateDNSToken", noACLs, (*consul.Agent).UpdateDNSToken),
}
