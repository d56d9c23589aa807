package configapi

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
	"muster/catalog/configentry"
	"muster/catalog/state"
)

// intention says whether one service may connect to another. It is a source of the
// destination's service-intentions, in the form of an API that is older than these.
type intention struct {
	ID              string `json:",omitempty"`
	Description     string `json:",omitempty"`
	SourcePeer      string `json:",omitempty"`
	SourceNS        string
	SourceName      string
	DestinationNS   string
	DestinationName string
	SourceType      string
	Action          string                   `json:",omitempty"`
	Permissions     []configentry.Permission `json:",omitempty"`
	Meta            map[string]string        `json:",omitempty"`
	Precedence      int
	CreatedAt       *time.Time `json:",omitempty"`
	UpdatedAt       *time.Time `json:",omitempty"`
	CreateIndex     uint64
	ModifyIndex     uint64
}

// given is the body that sets an intention. What only a commit gives is passed over.
type given struct {
	intention
	SourcePartition      string
	DestinationPartition string
	SourceSamenessGroup  string
	Hash                 []byte
}

// created is the answer of what makes an intention with an ID.
type created struct{ ID string }

// checked is the answer of a check.
type checked struct{ Allowed bool }

var errNoIntention = catalog.Errorf(catalog.NotFound, "Intention not found")

const (
	defaultNamespace = "default"
	sourceConsul     = "consul"
	idLen            = 36
)

func intentionRoutes(datacenter string, policy Policy) []api.Route {
	w := writes{datacenter}
	source := api.Param{Name: "source", Doc: "name of the service that connects, * for all"}
	destination := api.Param{Name: "destination", Doc: "name of the service that it connects to, * for all"}
	filter := api.Param{Name: "filter", Doc: "an expression that entries must match"}
	const path = "/v1/connect/intentions"
	return []api.Route{
		{
			Method: http.MethodGet, Path: path, Kind: api.Read, Plain: true,
			Doc:    "Lists the intentions: who may connect to whom.",
			Params: []api.Param{filter}, Filter: intention{},
			Answer: []intention{}, View: listIntentions, Visible: visibleIntentions,
		},
		{
			Method: http.MethodPost, Path: path, Kind: api.Write,
			Doc:  "Creates an intention that has an ID.",
			Body: given{}, Answer: created{}, Edit: w.createIntention,
		},
		{
			Method: http.MethodGet, Path: path + "/match", Kind: api.Read,
			Doc: "Lists, for each name, the intentions that are about it, the most exact first.",
			Params: []api.Param{
				{Name: "by", Doc: "source or destination: what the names are of"},
				{Name: "name", Doc: "name of a service; repeatable", Repeats: true},
			},
			Answer: map[string][]intention{}, View: matchIntentions, Visible: visibleMatches,
		},
		{
			Method: http.MethodGet, Path: path + "/check", Kind: api.Read,
			Doc:    "Tells whether a service may connect to another.",
			Params: []api.Param{source, destination, {Name: "source-type", Doc: "what the source is; consul is known"}},
			Answer: checked{}, View: policy.check,
		},
		{
			Method: http.MethodGet, Path: path + "/exact", Kind: api.Read,
			Doc:    "Reads the intention of two services.",
			Params: []api.Param{source, destination},
			Answer: intention{}, View: exactIntention,
		},
		{
			Method: http.MethodPut, Path: path + "/exact", Kind: api.Write,
			Doc:    "Sets the intention of two services.",
			Params: []api.Param{source, destination},
			Body:   given{}, Answer: true, Edit: w.putIntention,
		},
		{
			Method: http.MethodDelete, Path: path + "/exact", Kind: api.Write,
			Doc:    "Deletes the intention of two services.",
			Params: []api.Param{source, destination},
			Answer: true, Edit: w.removeIntention,
		},
		{
			Method: http.MethodGet, Path: path + "/{id}", Kind: api.Read,
			Doc:    "Reads an intention by its ID.",
			Answer: intention{}, View: intentionByID,
		},
		{
			Method: http.MethodPut, Path: path + "/{id}", Kind: api.Write,
			Doc:  "Replaces an intention by its ID.",
			Body: given{}, Answer: created{}, Edit: w.replaceIntention,
		},
		{
			Method: http.MethodDelete, Path: path + "/{id}", Kind: api.Write,
			Doc:    "Deletes an intention by its ID.",
			Answer: true, Edit: w.removeIntentionByID,
		},
	}
}

// allIntentions are those of all destinations, the most exact first.
func allIntentions(v *state.View) ([]intention, error) {
	list := []intention{}
	for _, e := range v.ConfigEntries(configentry.KindServiceIntentions) {
		some, err := intentionsOf(e)
		if err != nil {
			return nil, err
		}
		list = append(list, some...)
	}
	rank(list)
	return list, nil
}

// intentionsOf are those of one destination.
func intentionsOf(e *catalog.ConfigEntry) ([]intention, error) {
	if e == nil {
		return nil, nil
	}
	entry, err := configentry.Read[configentry.ServiceIntentions](e)
	if err != nil {
		return nil, err
	}
	var list []intention
	for _, s := range entry.Sources {
		list = append(list, intention{
			ID: s.LegacyID, Description: s.Description, Meta: s.LegacyMeta, CreatedAt: s.LegacyCreateTime, UpdatedAt: s.LegacyUpdateTime,
			SourceNS: defaultNamespace, SourceName: s.Name, SourcePeer: s.Peer, SourceType: s.Type,
			DestinationNS: defaultNamespace, DestinationName: entry.Name,
			Action: s.Action, Permissions: s.Permissions, Precedence: s.Precedence,
			CreateIndex: e.CreateIndex, ModifyIndex: e.ModifyIndex,
		})
	}
	return list, nil
}

// rank sorts the most exact first, and else by names.
func rank(list []intention) {
	slices.SortStableFunc(list, func(a, b intention) int {
		return cmp.Or(b.Precedence-a.Precedence, cmp.Compare(a.SourceName, b.SourceName), cmp.Compare(a.DestinationName, b.DestinationName))
	})
}

func seesIntention(az acl.Authorizer, i intention) bool {
	return az.Allowed(acl.Intention, i.DestinationName, acl.Read) || az.Allowed(acl.Intention, i.SourceName, acl.Read)
}

func visibleIntentions(az acl.Authorizer, answer any) (any, bool) {
	all := answer.([]intention)
	kept := make([]intention, 0, len(all))
	for _, i := range all {
		if seesIntention(az, i) {
			kept = append(kept, i)
		}
	}
	return kept, len(kept) < len(all)
}

func visibleMatches(az acl.Authorizer, answer any) (any, bool) {
	all := answer.(map[string][]intention)
	kept, cut := make(map[string][]intention, len(all)), false
	for name, list := range all {
		if list == nil {
			kept[name] = nil // null, as in Consul
			continue
		}
		seen, fewer := visibleIntentions(az, list)
		kept[name], cut = seen.([]intention), cut || fewer
	}
	return kept, cut
}

func listIntentions(v *state.View, _ *api.Request) (any, error) { return allIntentions(v) }

// serviceName is a name that may come with its namespace, of which there is one.
func serviceName(name string) (string, error) {
	parts := strings.Split(name, "/")
	last := len(parts) - 1
	for _, p := range parts[:last] {
		if p != defaultNamespace {
			return "", catalog.Errorf(catalog.Invalid, "Invalid namespace or partition %q: those of Consul Enterprise are not here", p)
		}
	}
	if last > 2 || parts[last] == "" {
		return "", catalog.Errorf(catalog.Invalid, "%q is not the name of a service", name)
	}
	return parts[last], nil
}

func required(r *api.Request, param string) (string, error) {
	if r.Query.Get(param) == "" {
		return "", catalog.Errorf(catalog.Invalid, "required query parameter '%s' not set", param)
	}
	return r.Query.Get(param), nil
}

// pair is the two services that a request names.
func pair(r *api.Request) (source, destination string, err error) {
	if source, err = required(r, "source"); err != nil {
		return "", "", err
	}
	if destination, err = required(r, "destination"); err != nil {
		return "", "", err
	}
	if source, err = serviceName(source); err != nil {
		return "", "", err
	}
	destination, err = serviceName(destination)
	return source, destination, err
}

func matchIntentions(v *state.View, r *api.Request) (any, error) {
	by, err := required(r, "by")
	if err != nil {
		return nil, err
	}
	if by != "source" && by != "destination" {
		return nil, catalog.Errorf(catalog.Invalid, "'by' parameter must be one of 'source' or 'destination'")
	}
	if _, err := required(r, "name"); err != nil {
		return nil, err
	}
	matches := map[string][]intention{}
	for _, given := range r.Query["name"] {
		name, err := serviceName(given)
		if err != nil {
			return nil, err
		}
		if err := acl.Check(r.Authz, acl.Intention, name, acl.Read); err != nil {
			return nil, err
		}
		if by == "destination" {
			if matches[given], err = towards(v, name); err != nil {
				return nil, err
			}
			continue
		}
		all, err := allIntentions(v)
		if err != nil {
			return nil, err
		}
		var from []intention
		for _, i := range all {
			if i.SourceName == name || i.SourceName == configentry.Wildcard {
				from = append(from, i)
			}
		}
		matches[given] = from
	}
	return matches, nil
}

// towards are the intentions that are about connections to a service, the most exact
// first; nil where there are none.
func towards(v *state.View, name string) ([]intention, error) {
	own, err := intentionsOf(v.ConfigEntry(configentry.KindServiceIntentions, name))
	if err != nil {
		return nil, err
	}
	if name != configentry.Wildcard {
		all, err := intentionsOf(v.ConfigEntry(configentry.KindServiceIntentions, configentry.Wildcard))
		if err != nil {
			return nil, err
		}
		own = append(own, all...)
	}
	rank(own)
	return own, nil
}

// check tells what the most exact intention says.
func (p Policy) check(v *state.View, r *api.Request) (any, error) {
	source, destination, err := pair(r)
	if err != nil {
		return nil, err
	}
	if t := r.Query.Get("source-type"); t != "" && t != sourceConsul {
		return nil, catalog.Errorf(catalog.Invalid, "unsupported SourceType: %q", t)
	}
	if err := acl.Check(r.Authz, acl.Intention, destination, acl.Read); err != nil {
		return nil, err
	}
	match, err := matching(v, source, destination)
	if err != nil {
		return nil, err
	}
	return checked{p.allows(match)}, nil
}

func exactIntention(v *state.View, r *api.Request) (any, error) {
	source, destination, err := pair(r)
	if err != nil {
		return nil, err
	}
	list, err := intentionsOf(v.ConfigEntry(configentry.KindServiceIntentions, destination))
	if err != nil {
		return nil, err
	}
	for _, i := range list {
		if i.SourceName == source && i.SourcePeer == "" {
			return i, acl.Check(r.Authz, acl.Intention, destination, acl.Read)
		}
	}
	return nil, errNoIntention
}

// byID finds the intention that a request names by its ID.
func byID(v *state.View, r *api.Request) (intention, error) {
	id := r.Var("id")
	if len(id) != idLen {
		return intention{}, catalog.Errorf(catalog.Invalid, "failed config entry lookup: index error: UUID must be 36 characters")
	}
	all, err := allIntentions(v)
	if err != nil {
		return intention{}, err
	}
	for _, i := range all {
		if strings.EqualFold(i.ID, id) {
			return i, nil
		}
	}
	return intention{}, errNoIntention
}

func intentionByID(v *state.View, r *api.Request) (any, error) {
	i, err := byID(v, r)
	if err != nil {
		return nil, err
	}
	return i, acl.Check(r.Authz, acl.Intention, i.DestinationName, acl.Read)
}

// edit changes the intentions of a destination, and makes the command for that, which
// takes effect only if they are still as they were. It is nil where nothing changes.
func (w writes) edit(v *state.View, r *api.Request, destination string, change func(*configentry.ServiceIntentions) error) (catalog.Command, error) {
	if err := acl.Check(r.Authz, acl.Intention, destination, acl.Write); err != nil {
		return nil, err
	}
	entry := &configentry.ServiceIntentions{Head: configentry.Head{Kind: configentry.KindServiceIntentions, Name: destination}}
	old := v.ConfigEntry(configentry.KindServiceIntentions, destination)
	cmd := &catalog.SetConfig{Verb: catalog.ConfigCAS, Kind: configentry.KindServiceIntentions, Name: destination}
	if old != nil {
		var err error
		if entry, err = configentry.Read[configentry.ServiceIntentions](old); err != nil {
			return nil, err
		}
		cmd.Index = old.ModifyIndex
	}
	if err := change(entry); err != nil {
		return nil, err
	}
	if len(entry.Sources) == 0 {
		if old == nil {
			return nil, nil
		}
		cmd.Verb = catalog.ConfigDeleteCAS
		return cmd, nil
	}
	made, err := configentry.Make(entry)
	if err != nil {
		return nil, err
	}
	cmd.Body = made.Body
	return cmd, proposal{v, made.Kind, made.Name, made}.fault(w.datacenter)
}

// decode reads the body of a request as a source of service-intentions.
func decode(r *api.Request) (given, configentry.IntentionSource, error) {
	var in given
	if err := api.Decode(r.Body, &in); err != nil {
		return in, configentry.IntentionSource{}, err
	}
	for _, name := range []string{in.SourceNS, in.DestinationNS, in.SourcePartition, in.DestinationPartition} {
		if name != "" && name != defaultNamespace {
			return in, configentry.IntentionSource{}, catalog.Errorf(catalog.Invalid, "Invalid namespace or partition %q: those of Consul Enterprise are not here", name)
		}
	}
	if in.SourcePeer != "" {
		return in, configentry.IntentionSource{}, catalog.Errorf(catalog.Invalid, "SourcePeer field is not supported on this endpoint. Use config entries instead")
	}
	return in, configentry.IntentionSource{
		Name: in.SourceName, Type: cmp.Or(in.SourceType, sourceConsul), Action: in.Action,
		Permissions: in.Permissions, Description: in.Description, SamenessGroup: in.SourceSamenessGroup,
	}, nil
}

func (w writes) putIntention(v *state.View, r *api.Request) (catalog.Command, any, error) {
	source, destination, err := pair(r)
	if err != nil {
		return nil, nil, err
	}
	in, s, err := decode(r)
	if err != nil {
		return nil, nil, err
	}
	if len(in.Meta) > 0 {
		return nil, nil, catalog.Errorf(catalog.Invalid, "Meta must not be specified")
	}
	s.Name = source
	cmd, err := w.edit(v, r, destination, func(e *configentry.ServiceIntentions) error {
		e.Put(s)
		return nil
	})
	return cmd, true, err
}

func (w writes) removeIntention(v *state.View, r *api.Request) (catalog.Command, any, error) {
	source, destination, err := pair(r)
	if err != nil {
		return nil, nil, err
	}
	cmd, err := w.edit(v, r, destination, func(e *configentry.ServiceIntentions) error {
		e.Remove(source, "")
		return nil
	})
	return cmd, true, err
}

// legacy reads the body that sets an intention with an ID.
func legacy(r *api.Request) (given, configentry.IntentionSource, error) {
	in, s, err := decode(r)
	if err != nil {
		return in, s, err
	}
	var faults []string
	if in.Action != configentry.Allow && in.Action != configentry.Deny {
		faults = append(faults, "Action must be set to 'allow' or 'deny'")
	}
	if len(in.Permissions) > 0 {
		faults = append(faults, "Permissions must not be set when using the legacy APIs")
	}
	if in.SourceName == "" || in.DestinationName == "" {
		faults = append(faults, "SourceName and DestinationName must be set")
	}
	if len(faults) > 0 {
		return in, s, catalog.Errorf(catalog.Invalid, "%s", strings.Join(faults, "\n"))
	}
	s.LegacyMeta = in.Meta
	return in, s, nil
}

func (w writes) createIntention(v *state.View, r *api.Request) (catalog.Command, any, error) {
	in, s, err := legacy(r)
	if err != nil {
		return nil, nil, err
	}
	if in.ID != "" {
		return nil, nil, catalog.Errorf(catalog.Invalid, "ID must be empty when creating a new intention")
	}
	now := time.Now().UTC()
	s.LegacyID, s.LegacyCreateTime, s.LegacyUpdateTime = uuid.NewString(), &now, &now
	cmd, err := w.edit(v, r, in.DestinationName, func(e *configentry.ServiceIntentions) error {
		e.Sources = append(e.Sources, s)
		return nil
	})
	return cmd, created{s.LegacyID}, err
}

func (w writes) replaceIntention(v *state.View, r *api.Request) (catalog.Command, any, error) {
	old, err := changeable(v, r, "modify")
	if err != nil {
		return nil, nil, err
	}
	in, s, err := legacy(r)
	if err != nil {
		return nil, nil, err
	}
	if in.DestinationName != old.DestinationName {
		return nil, nil, catalog.Errorf(catalog.Invalid, "Cannot modify Destination partition/namespace/name for an intention once it exists.")
	}
	now := time.Now().UTC()
	s.LegacyID, s.LegacyCreateTime, s.LegacyUpdateTime = old.ID, old.CreatedAt, &now
	cmd, err := w.edit(v, r, old.DestinationName, func(e *configentry.ServiceIntentions) error {
		e.Remove(old.SourceName, old.SourcePeer)
		e.Sources = append(e.Sources, s)
		return nil
	})
	return cmd, created{old.ID}, err
}

// changeable finds the intention that a request names by its ID to change it.
func changeable(v *state.View, r *api.Request, verb string) (intention, error) {
	old, err := byID(v, r)
	if err != nil && !r.Authz.AllowedAll(acl.Intention, acl.Write) {
		return old, catalog.Errorf(catalog.Denied, "Permission denied: token lacks permission 'intention:write' for all services")
	}
	if errors.Is(err, errNoIntention) {
		return old, catalog.Errorf(catalog.NotFound, "Cannot %s non-existent intention: '%s'", verb, r.Var("id"))
	}
	return old, err
}

func (w writes) removeIntentionByID(v *state.View, r *api.Request) (catalog.Command, any, error) {
	old, err := changeable(v, r, "delete")
	if err != nil {
		return nil, nil, err
	}
	cmd, err := w.edit(v, r, old.DestinationName, func(e *configentry.ServiceIntentions) error {
		e.Remove(old.SourceName, old.SourcePeer)
		return nil
	})
	return cmd, true, err
}
