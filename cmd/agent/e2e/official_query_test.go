package e2e

import (
	"slices"
	"strings"

	consul "github.com/hashicorp/consul/api"
)

// queryCalls make a template, whose name is the asked agent's, and take it away again.
var queryCalls = []call{
	{method: "PreparedQuery.Create", check: func(c client) {
		id, _, err := c.PreparedQuery().Create(&consul.PreparedQueryDefinition{
			Name: "by-" + c.agent.name + "-", Template: consul.QueryTemplate{Type: "name_prefix_match", Regexp: "^by-.*-([a-z]+)$"},
			Service: consul.ServiceQuery{Service: "${match(1)}", Near: "_agent"}, DNS: consul.QueryDNSOptions{TTL: "1s"}}, nil)
		c.want(err, len(id) == 36, "%s", id)
	}},
	{method: "PreparedQuery.List", check: func(c client) {
		got, meta, err := c.PreparedQuery().List(&consul.QueryOptions{RequireConsistent: true})
		c.want(err, err == nil && len(got) == 1 && meta.LastIndex > 1, "%+v %+v", got, meta)
	}},
	{method: "PreparedQuery.Get", check: func(c client) {
		own := ownQuery(c)
		got, _, err := c.PreparedQuery().Get(own.ID, nil)
		c.want(err, len(got) == 1 && got[0].Service.Service == "${match(1)}" && got[0].DNS.TTL == "1s", "%+v", got)
	}},
	{method: "PreparedQuery.Execute", check: func(c client) {
		got, meta, err := c.PreparedQuery().Execute("by-"+c.agent.name+"-consul", &consul.QueryOptions{AllowStale: true, Near: "_agent"})
		c.want(err, err == nil && len(got.Nodes) == 1 && got.Nodes[0].Node.Node == c.agent.server(c.other).name && got.DNS.TTL == "1s" && meta.LastIndex > 1, "%+v", got)
	}},
	{method: "PreparedQuery.Update", check: func(c client) {
		own := ownQuery(c)
		own.Service.Tags = []string{"nobody has this"}
		_, err := c.PreparedQuery().Update(&own, nil)
		c.want(err, true, "")
		got, _, err := c.PreparedQuery().Execute("by-"+c.agent.name+"-consul", nil)
		c.want(err, err == nil && len(got.Nodes) == 0 && got.Service == "consul", "%+v", got)
	}},
	{method: "PreparedQuery.Delete", check: func(c client) {
		_, err := c.PreparedQuery().Delete(ownQuery(c).ID, nil)
		c.want(err, true, "")
		_, _, err = c.PreparedQuery().Execute("by-"+c.agent.name+"-consul", nil)
		c.want(nil, err != nil && strings.Contains(err.Error(), "Query not found"), "%v", err)
	}},
}

// ownQuery finds what PreparedQuery.Create has made.
func ownQuery(c client) consul.PreparedQueryDefinition {
	c.t.Helper()
	all, _, err := c.PreparedQuery().List(nil)
	i := slices.IndexFunc(all, func(q *consul.PreparedQueryDefinition) bool { return q.Name == "by-"+c.agent.name+"-" })
	if err != nil || i < 0 {
		c.t.Fatalf("no query of %s in %+v: %v", c.agent.name, all, err)
	}
	return *all[i]
}
