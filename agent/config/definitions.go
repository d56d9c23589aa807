package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"muster/agent/checks"
	"muster/agent/handlers"
	"muster/agent/local"
	"muster/catalog"
	"muster/catalog/configentry"
)

// serviceBlock is a service as a file says it. Field names match keys without
// regard to case and underscores.
type serviceBlock struct {
	ID                string
	Name              string
	Kind              string
	Tags              []string
	Meta              map[string]string
	Address           string
	Port              int
	SocketPath        string
	TaggedAddresses   map[string]catalog.ServiceAddress
	Weights           catalog.Weights
	EnableTagOverride bool
	Locality          *catalog.Locality
	Proxy             *catalog.Proxy
	Connect           connectBlock
	Check             []checkBlock
	Checks            []checkBlock
	Token             string
}

type connectBlock struct {
	Native         bool
	SidecarService *serviceBlock
}

// checkBlock is a check as a file says it.
type checkBlock struct {
	ID    string
	Args  []string
	Token string
	checks.Definition
}

func (b *checkBlock) definition() (checks.Definition, error) {
	d := b.Definition
	if b.ID != "" && d.CheckID != "" && b.ID != d.CheckID {
		return d, fmt.Errorf("has two IDs, id %q and check_id %q", b.ID, d.CheckID)
	}
	if b.ID != "" {
		d.CheckID = b.ID
	}
	if len(b.Args) > 0 && len(d.ScriptArgs) > 0 {
		return d, errors.New("has both args and script_args; they are the same")
	}
	if len(b.Args) > 0 {
		d.ScriptArgs = b.Args
	}
	return d, nil
}

func (b *serviceBlock) service() catalog.Service {
	return catalog.Service{
		ID: b.ID, Service: b.Name, Kind: b.Kind, Tags: b.Tags, Meta: b.Meta,
		Address: b.Address, Port: b.Port, SocketPath: b.SocketPath, TaggedAddresses: b.TaggedAddresses,
		Weights: b.Weights, EnableTagOverride: b.EnableTagOverride, Locality: b.Locality,
		Proxy: b.Proxy, Connect: catalog.Connect{Native: b.Connect.Native},
	}
}

// addServices takes a service block, or a list of them.
func (d *draft) addServices(path string, n *node, file string) {
	c := decoder{d, file}
	paths, nodes := c.elements(path, n)
	for i, n := range nodes {
		before := len(d.faults)
		b := serviceBlock{Weights: catalog.Weights{Passing: 1, Warning: 1}}
		c.decode(paths[i], n, reflect.ValueOf(&b).Elem())
		def := local.ServiceDefinition{Service: b.service(), Token: b.Token}
		def.Checks = c.checksOf(paths[i], n, &b)
		if side := b.Connect.SidecarService; side != nil {
			def.Sidecar = &local.Sidecar{Service: side.service(), Checks: c.checksOf(paths[i], n, side), Token: side.Token}
			if side.Connect.SidecarService != nil {
				c.fault(paths[i], n, "the sidecar of %q can't have one itself", b.Name)
			}
		}
		if len(d.faults) > before {
			continue
		}
		if err := validateService(def); err != nil {
			c.fault(paths[i], n, "(%q): %v", b.Name, err)
			continue
		}
		d.Definitions.Services = append(d.Definitions.Services, def)
	}
}

// checksOf gives the checks of a service block.
func (c decoder) checksOf(path string, n *node, b *serviceBlock) (defs []checks.Definition) {
	for j, check := range append(b.Check, b.Checks...) {
		def, err := check.definition()
		if err != nil {
			c.fault(path, n, "check %d %v", j+1, err)
		}
		defs = append(defs, def)
	}
	return defs
}

// addChecks takes a check block, or a list of them.
func (d *draft) addChecks(path string, n *node, file string) {
	c := decoder{d, file}
	paths, nodes := c.elements(path, n)
	for i, n := range nodes {
		before := len(d.faults)
		var b checkBlock
		c.decode(paths[i], n, reflect.ValueOf(&b).Elem())
		check, err := b.definition()
		if len(d.faults) > before {
			continue
		}
		if err == nil && check.Name == "" {
			err = errors.New("has no name")
		}
		if err == nil {
			err = check.Validate()
		}
		if err != nil {
			c.fault(paths[i], n, "(%q): %v", check.Name, err)
			continue
		}
		d.Definitions.Checks = append(d.Definitions.Checks, local.CheckDefinition{Check: check, Token: b.Token})
	}
}

// addWatches takes a watch, or a list of them.
func (d *draft) addWatches(path string, n *node, file string) {
	c := decoder{d, file}
	paths, nodes := c.elements(path, n)
	for i, n := range nodes {
		params, ok := n.plain().(map[string]any)
		if !ok {
			c.fault(paths[i], n, "must be an object, not %s", n.kind())
			continue
		}
		w, err := handlers.New(params)
		if err != nil {
			c.fault(paths[i], n, "%v", err)
			continue
		}
		d.Watches = append(d.Watches, w)
		if !d.given(path) {
			d.origins[path] = origin{file, n.line}
		}
	}
}

// addConfigEntries takes a config entry, or a list of them.
func (d *draft) addConfigEntries(path string, n *node, file string) {
	c := decoder{d, file}
	paths, nodes := c.elements(path, n)
	for i, n := range nodes {
		body, err := json.Marshal(n.plain())
		if err != nil {
			c.fault(paths[i], n, "%v", err)
			continue
		}
		e, err := configentry.Decode(body)
		if err != nil {
			c.fault(paths[i], n, "%v", err)
			continue
		}
		d.ConfigEntries = append(d.ConfigEntries, e)
	}
}

// addCAConfig takes settings of the certificate authority; a later one counts.
func (d *draft) addCAConfig(path string, n *node, file string) {
	c := decoder{d, file}
	blocks, ok := n.blocks()
	if !ok {
		c.fault(path, n, "must be an object, not %s", n.kind())
		return
	}
	for _, b := range blocks {
		for _, f := range b.fields {
			d.caConfig[f.key] = f.value.plain()
		}
	}
}

// validateService applies the rules of services and checks, on copies with what
// may be left out filled in.
func validateService(def local.ServiceDefinition) error {
	if def.Service.Service == "" {
		return errors.New("has no name")
	}
	svc := def.Service
	svc.Normalize()
	if err := svc.Validate(); err != nil {
		return err
	}
	for i, c := range def.Checks {
		if err := c.Validate(); err != nil {
			return fmt.Errorf("check %d: %w", i+1, err)
		}
	}
	return nil
}
