package catalogapi

import (
	"cmp"
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"strings"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
	"muster/catalog/state"
)

// prometheusRoute is HTTP service discovery for Prometheus: target groups in the
// form of its documentation (http_sd_config), with the labels that Prometheus' own
// Consul discovery (consul_sd_config) gives, so that relabelling rules made for
// that one work.
func prometheusRoute() api.Route {
	return api.Route{
		Method: http.MethodGet, Path: "/v1/sd/prometheus", Kind: api.Read,
		Doc: "Lists instances as targets for Prometheus' HTTP service discovery.",
		Params: []api.Param{
			{Name: "service", Doc: "a service's name; all services where it is left out", Repeats: true},
			tag, passing, nodeMeta, filter,
			{Name: "tag_separator", Doc: "what stands around and between tags in __meta_consul_tags; a comma where it is left out"},
		},
		Filter: instance{}, Answer: targets{},
		View: prometheusTargets, Visible: visibleTargets,
	}
}

func prometheusTargets(v *state.View, r *api.Request) (any, error) {
	passing, err := r.Bool("passing")
	if err != nil {
		return nil, err
	}
	found := []state.Instance{}
	if names := r.Query["service"]; len(names) == 0 {
		found = v.AllInstancesWithChecks()
	} else {
		for _, name := range sortedSet(names) {
			found = append(found, v.ServiceInstances(name)...)
		}
	}
	out := targets{separator: cmp.Or(r.Query.Get("tag_separator"), ",")}
	for _, in := range found {
		if hasTags(in.Service, r) && r.Options.MatchMeta(in.Node.Meta) && (!passing || allPass(in.Checks)) {
			out.instances = append(out.instances, instance(in))
		}
	}
	return out, nil
}

// targets are instances that become target groups in JSON, when those that the
// caller may not or does not want to see are gone.
type targets struct {
	instances []instance
	separator string
}

// targetGroup is one entry of the answer: an instance is a group of its own, as
// each has labels of its own.
type targetGroup struct {
	Targets []string          `json:"targets"`
	Labels  map[string]string `json:"labels"`
}

// SchemaSample implements api.Schemed.
func (targets) SchemaSample() any { return []targetGroup{} }

// MarshalJSON implements json.Marshaler.
func (t targets) MarshalJSON() ([]byte, error) {
	groups := make([]targetGroup, len(t.instances))
	for i, in := range t.instances {
		address := cmp.Or(in.Service.Address, in.Node.Address)
		groups[i] = targetGroup{
			Targets: []string{net.JoinHostPort(address, strconv.Itoa(in.Service.Port))},
			Labels:  t.labels(in),
		}
	}
	return json.Marshal(groups)
}

// Filtered implements api.Filterable.
func (t targets) Filtered(match func(any) (bool, error)) (any, error) {
	kept := targets{separator: t.separator}
	for _, in := range t.instances {
		ok, err := match(in)
		if err != nil {
			return nil, err
		}
		if ok {
			kept.instances = append(kept.instances, in)
		}
	}
	return kept, nil
}

func visibleTargets(az acl.Authorizer, answer any) (any, bool) {
	t := answer.(targets)
	kept, cut := visibleInstances(az, t.instances)
	return targets{kept.([]instance), t.separator}, cut
}

// labels are those of consul_sd_config. Its __meta_consul_partition is of Consul
// Enterprise only and empty here as there.
func (t targets) labels(in instance) map[string]string {
	node, service := in.Node, in.Service
	const prefix = "__meta_consul_"
	labels := map[string]string{
		prefix + "address":         node.Address,
		prefix + "dc":              node.Datacenter,
		prefix + "health":          health(in.Checks),
		prefix + "node":            node.Node,
		prefix + "partition":       "",
		prefix + "service":         service.Service,
		prefix + "service_address": service.Address,
		prefix + "service_id":      service.ID,
		prefix + "service_port":    strconv.Itoa(service.Port),
		prefix + "tags":            t.separator + strings.Join(service.Tags, t.separator) + t.separator,
	}
	for name, values := range map[string]map[string]string{
		"metadata_": node.Meta, "service_metadata_": service.Meta, "tagged_address_": node.TaggedAddresses,
	} {
		for key, value := range values {
			labels[prefix+name+labelName(key)] = value
		}
	}
	return labels
}

// labelName makes a key one that may stand in the name of a label.
func labelName(key string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z', c == '_':
			return c
		}
		return '_'
	}, key)
}

// health is the worst state of checks, where maintenance goes before all.
func health(checks []*catalog.Check) string {
	worst := catalog.StatusPassing
	for _, c := range checks {
		status := c.Status
		if c.CheckID == catalog.NodeMaintenance || strings.HasPrefix(c.CheckID, catalog.ServiceMaintenancePrefix) {
			status = catalog.StatusMaintenance
		}
		worst = catalog.Worse(worst, status)
	}
	return worst
}
