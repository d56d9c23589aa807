package catalogapi

import (
	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
)

// registration is the body of /v1/catalog/register.
type registration struct {
	ID              string
	Node            string
	Address         string
	Datacenter      string
	TaggedAddresses map[string]string
	NodeMeta        map[string]string
	Service         *catalog.Service
	Check           *catalog.Check
	Checks          []*catalog.Check
	SkipNodeUpdate  bool
	Locality        *catalog.Locality
}

// register makes the command of a registration.
func (h handlers) register(r *api.Request) (catalog.Command, error) {
	var in registration
	if err := api.Decode(r.Body, &in); err != nil {
		return nil, err
	}
	switch {
	case in.Datacenter == "":
		in.Datacenter = h.datacenter
	case in.Datacenter != h.datacenter:
		return nil, api.ErrNoPath
	}
	cmd := &catalog.Register{
		Node: catalog.Node{
			ID: in.ID, Node: in.Node, Address: in.Address, Datacenter: in.Datacenter,
			TaggedAddresses: in.TaggedAddresses, Meta: in.NodeMeta, Locality: in.Locality,
		},
		SkipNodeUpdate: in.SkipNodeUpdate,
		Service:        in.Service,
	}
	for _, c := range append(in.Checks, in.Check) {
		if c != nil {
			cmd.Checks = append(cmd.Checks, *c)
		}
	}
	cmd.Normalize()
	if err := cmd.Validate(); err != nil {
		return nil, err
	}
	return cmd, mayRegister(r.Authz, cmd)
}

// mayRegister says what of a registration its caller may not do.
func mayRegister(az acl.Authorizer, cmd *catalog.Register) error {
	if cmd.Service != nil {
		if err := acl.Check(az, acl.Service, cmd.Service.Service, acl.Write); err != nil {
			return err
		}
	}
	onNode := !cmd.SkipNodeUpdate
	for _, c := range cmd.Checks {
		switch {
		case c.ServiceID == "":
			onNode = true
		case cmd.Service != nil && cmd.Service.ID == c.ServiceID:
		case !az.AllowedAll(acl.Service, acl.Write):
			// Whose service the ID is only the state knows that applies this.
			return catalog.Errorf(catalog.Denied, "Permission denied: token lacks permission 'service:write' for the check %q of a service that is not in this request", c.CheckID)
		}
	}
	if onNode {
		return acl.Check(az, acl.Node, cmd.Node.Node, acl.Write)
	}
	return nil
}

// deregistration is the body of /v1/catalog/deregister.
type deregistration struct {
	Node       string
	Address    string // taken, and not needed
	Datacenter string
	ServiceID  string
	CheckID    string
}

// deregister makes the command of a deregistration.
func (h handlers) deregister(r *api.Request) (catalog.Command, error) {
	var in deregistration
	if err := api.Decode(r.Body, &in); err != nil {
		return nil, err
	}
	if in.Datacenter != "" && in.Datacenter != h.datacenter {
		return nil, api.ErrNoPath
	}
	cmd := &catalog.Deregister{Node: in.Node, ServiceID: in.ServiceID, CheckID: in.CheckID}
	if err := cmd.Validate(); err != nil {
		return nil, err
	}
	return cmd, acl.Check(r.Authz, acl.Node, cmd.Node, acl.Write)
}
