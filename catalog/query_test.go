package catalog

import (
	"fmt"
	"strings"
	"testing"
)

// web is a query for the service web, changed as a test wants it.
func web(change func(*PreparedQuery)) PreparedQuery {
	q := PreparedQuery{Name: "q", Service: ServiceQuery{Service: "web"}}
	change(&q)
	return q
}

func TestPreparedQuery_Validate(t *testing.T) {
	template := func(regexp, service string) PreparedQuery {
		return web(func(q *PreparedQuery) {
			q.Template, q.Service.Service = QueryTemplate{Type: QueryPrefixMatch, Regexp: regexp}, service
		})
	}
	for _, c := range []struct {
		name  string
		query PreparedQuery
		fault string
	}{
		{"plain", web(func(*PreparedQuery) {}), ""},
		{"of a session", web(func(q *PreparedQuery) { q.Name, q.Session = "", "s" }), ""},
		{"catch-all", web(func(q *PreparedQuery) { q.Name, q.Template.Type = "", QueryPrefixMatch }), ""},
		{"of nothing", web(func(q *PreparedQuery) { q.Name = "" }), "Invalid prepared query: Must be bound to a session"},
		{"name", web(func(q *PreparedQuery) { q.Name = strings.Repeat("x", MaxQueryName+1) }), "the Name is 513 bytes; at most 512 are allowed"},
		{"token", web(func(q *PreparedQuery) { q.Token = "<hidden>" }), "it looks like a query definition with a redacted token was submitted"},
		{"service", web(func(q *PreparedQuery) { q.Service.Service = "" }), "Must provide a Service name to query"},
		{"sameness", web(func(q *PreparedQuery) { q.Service.SamenessGroup = "g" }), "sameness-groups are an enterprise-only feature"},
		{"peer", web(func(q *PreparedQuery) { q.Service.Peer = "p" }), "there is no peer 'p'"},
		{"nearest", web(func(q *PreparedQuery) { q.Service.Failover.NearestN = -1 }), "Bad NearestN '-1', must be >= 0"},
		{"failover", web(func(q *PreparedQuery) {
			q.Service.Failover = QueryFailover{NearestN: 1, Targets: []QueryTarget{{Datacenter: "dc2"}}}
		}), "Targets cannot be populated with NearestN or Datacenters"},
		{"TTL", web(func(q *PreparedQuery) { q.DNS.TTL = "2540400h" }), ""},
		{"TTL without a unit", web(func(q *PreparedQuery) { q.DNS.TTL = "5" }), `Bad DNS TTL '5': time: missing unit in duration "5"`},
		{"TTL below 0", web(func(q *PreparedQuery) { q.DNS.TTL = "-1s" }), "DNS TTL '-1s', must be >=0"},
		{"node's version", web(func(q *PreparedQuery) { q.Service.NodeMeta = map[string]string{"consul-version": "1"} }), ""},
		{"metadata", web(func(q *PreparedQuery) { q.Service.NodeMeta = map[string]string{"a b": "c"} }),
			"Invalid prepared query: Couldn't load metadata pair ('a b', 'c'): Key contains invalid characters"},
		{"type", web(func(q *PreparedQuery) { q.Template.Type = "glob" }), "failed compiling template: Bad Template.Type 'glob'"},
		{"regexp of no template", web(func(q *PreparedQuery) { q.Template.Regexp = "(" }), ""},
		{"regexp", template("(", "x"), "failed compiling template: Bad Regexp: error parsing regexp: missing closing ): `(`"},
		{"long regexp", template(strings.Repeat("x", 1025), "x"), "it is 1025 bytes; at most 1024 are allowed"},
		{"regexp bomb", template(strings.Repeat("x{1000}", 3), "x"), "its repetitions make it 3002 steps long; at most 2048 are allowed"},
		{"variable", template("", "a${name.foo}"), "Bad evaluation for 'a${name.foo}' in Service.Service: 1:4: unknown variable accessed: name.foo"},
		{"function", template("", "${upper(name.full)}"), "1:3: unknown function called: upper"},
		{"group", template("", "${match(-1)}"), "match(-1): match takes the number of a group, such as match(1)"},
		{"two groups", template("", "${match(1)2)}"), "match(1)2): match takes the number of a group, such as match(1)"},
		{"open", template("", "${name.full"), `Bad format '${name.full' in Service.Service: parse error at 1:12: expected "}" but found end of string`},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.query.Validate()
			if c.fault == "" && err != nil || c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault) || KindOf(err) != Invalid) {
				t.Errorf("got %v, want %q", err, c.fault)
			}
		})
	}
}

func TestPreparedQuery_Expand(t *testing.T) {
	q := PreparedQuery{
		Name:     "geo-",
		Template: QueryTemplate{Type: QueryPrefixMatch, Regexp: "^(geo)-(.*?)-([^-]+)$"},
		Service: ServiceQuery{
			Service: "${match(2)}", Near: "${name.suffix}",
			Tags:           []string{"${match(3)}", "${ match( 0 ) }", "${match(9)}", "$$${name.full}$", "$${x}", "}", "$$", "${agent.segment}"},
			IgnoreCheckIDs: []string{"${name.prefix}x"},
			NodeMeta:       map[string]string{"k": "${name.full}"}, ServiceMeta: map[string]string{"${name.full}": "${match(1)}"},
			Failover: QueryFailover{Datacenters: []string{"${match(3)}"}, Targets: []QueryTarget{{Peer: "${match(1)}", Datacenter: "${match(3)}"}}},
		},
	}
	said := fmt.Sprint(q)
	for _, c := range []struct{ name, want string }{
		{"geo-web-v1", `web|web-v1|["v1" "geo-web-v1" "" "$geo-web-v1$" "${x}" "}" "$" ""]|["geo-x"]|map[k:geo-web-v1]|map[${name.full}:geo]|[v1]|[{geo v1}]`},
		{"geo-web", `|web|["" "" "" "$geo-web$" "${x}" "}" "$" ""]|["geo-x"]|map[k:geo-web]|map[${name.full}:]|[]|[{ }]`},
		{"GEO-", `||["" "" "" "$GEO-$" "${x}" "}" "$" ""]|["geo-x"]|map[k:GEO-]|map[${name.full}:]|[]|[{ }]`},
	} {
		got, err := q.Expand(c.name)
		if err != nil {
			t.Fatal(err)
		}
		s := &got.Service
		if text := fmt.Sprintf("%s|%s|%q|%q|%v|%v|%v|%v", s.Service, s.Near, s.Tags, s.IgnoreCheckIDs, s.NodeMeta, s.ServiceMeta, s.Failover.Datacenters, s.Failover.Targets); text != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.name, text, c.want)
		}
	}
	if fmt.Sprint(q) != said {
		t.Errorf("the template itself has become %v", q)
	}
	q.Template.RemoveEmptyTags = true
	if got, err := q.Expand("geo-web-v1"); err != nil || len(got.Service.Tags) != 6 {
		t.Errorf("without its empty tags it has %q, %v", got.Service.Tags, err)
	}
}

// FuzzPreparedQuery: a template that was taken can be expanded for any name.
func FuzzPreparedQuery(f *testing.F) {
	f.Add("", "${name.full}", "web")
	f.Add("^(a+)-(.*)$", "$${x}${match(1)}${match(2)}$", "aaa-b")
	f.Add("(?i)x{2,}|\\pL*", "${ name.suffix }${match(0)}", "\xff\x00")
	f.Add("(", "${", "}")
	f.Fuzz(func(t *testing.T, regexp, text, name string) {
		q := PreparedQuery{Name: "a", Template: QueryTemplate{Type: QueryPrefixMatch, Regexp: regexp},
			Service: ServiceQuery{Service: "x" + text, Tags: []string{text}}}
		if q.Validate() != nil || len(name) > MaxQueryName {
			return
		}
		got, err := q.Expand(name)
		if err != nil {
			t.Fatalf("%q of %q for %q: %v", text, regexp, name, err)
		}
		if got.Service.Service != "x"+got.Service.Tags[0] {
			t.Errorf("one text was expanded to %q and %q", got.Service.Service, got.Service.Tags[0])
		}
	})
}
