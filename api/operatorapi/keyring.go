package operatorapi

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
)

// maxRelayFactor bounds ?relay-factor=, as in Consul.
const maxRelayFactor = 5

// KeyAction is what is done with gossip keys.
type KeyAction int

// The actions on gossip keys.
const (
	ListKeys KeyAction = iota
	InstallKey
	UseKey
	RemoveKey
)

// KeyOperation is asked of all members of the gossip pools.
type KeyOperation struct {
	Action      KeyAction
	Key         string // base64; of ListKeys none
	RelayFactor int    // by way of how many others each member answers as well, 0 to 5
	LocalOnly   bool   // leave the WAN pool out
}

// Keyring is the encryption keys of the gossip pools that a server is in. It is
// nil on client agents, whose routes are passed on to a server.
type Keyring interface {
	// Keys has the members of each pool do an operation and gives what they
	// answered, the WAN pool's first.
	Keys(ctx context.Context, op KeyOperation) []KeyReport
}

// KeyReport is what the members of one pool answered. Its JSON form is the API's.
type KeyReport struct {
	WAN         bool
	Datacenter  string
	Segment     string
	Messages    map[string]string `json:",omitempty"` // by member
	Keys        map[string]int    // to how many members have it
	PrimaryKeys map[string]int    // to how many members encrypt with it
	NumNodes    int
	Err         error `json:"-"` // not all members did it
}

// keyBody is the body of what changes keys.
type keyBody struct{ Key string }

func keyringRoutes(k Keyring) []api.Route {
	relay := api.Param{Name: "relay-factor", Doc: "each member answers by way of this many others as well, 0 to 5"}
	const path = "/v1/operator/keyring"
	change := func(method, doc string, action KeyAction) api.Route {
		return api.Route{
			Method: method, Path: path, Kind: api.Leading, Doc: doc, Params: []api.Param{relay},
			ACL: api.Rule{Resource: acl.Keyring, Access: acl.Write}, Body: keyBody{},
			Lead: func(r *api.Request) (any, error) {
				_, err := operateKeys(k, r, action)
				return nil, err
			},
		}
	}
	return []api.Route{
		{
			Method: http.MethodGet, Path: path, Kind: api.Leading,
			Doc:    "Lists the gossip keys and how many members have each, in the WAN pool and in this datacenter.",
			Params: []api.Param{relay, {Name: "local-only", Doc: "true leaves the WAN pool out"}},
			ACL:    api.Rule{Resource: acl.Keyring, Access: acl.Read}, Answer: []KeyReport{},
			Lead: func(r *api.Request) (any, error) { return operateKeys(k, r, ListKeys) },
		},
		change(http.MethodPost, "Gives a further gossip key to all members, which decrypt with it from then on.", InstallKey),
		change(http.MethodPut, "Has all members encrypt with a gossip key that they have.", UseKey),
		change(http.MethodDelete, "Has all members forget a gossip key that they don't encrypt with.", RemoveKey),
	}
}

func operateKeys(k Keyring, r *api.Request, action KeyAction) ([]KeyReport, error) {
	op := KeyOperation{Action: action}
	if action != ListKeys {
		var body keyBody
		if err := api.Decode(r.Body, &body); err != nil {
			return nil, err
		}
		op.Key = body.Key
	}
	if err := op.parse(r); err != nil {
		return nil, err
	}
	reports := k.Keys(r.Context(), op)
	return reports, failures(reports)
}

// parse reads the parameters, in Consul's words where they are wrong.
func (op *KeyOperation) parse(r *api.Request) (err error) {
	if v := r.Query.Get("relay-factor"); v != "" {
		if op.RelayFactor, err = strconv.Atoi(v); err != nil {
			return catalog.Errorf(catalog.Invalid, "Error parsing relay factor: %v", err)
		}
		if op.RelayFactor < 0 || op.RelayFactor > maxRelayFactor {
			return catalog.Errorf(catalog.Invalid, "Invalid relay-factor: Relay factor must be in range: [0, %d]", maxRelayFactor)
		}
	}
	if v := r.Query.Get("local-only"); v != "" {
		if op.LocalOnly, err = strconv.ParseBool(v); err != nil {
			return catalog.Errorf(catalog.Invalid, "Error parsing local-only: %v", err)
		}
		if op.LocalOnly && op.Action != ListKeys {
			return catalog.Errorf(catalog.Invalid, "Invalid use of local-only: local-only can only be set for list requests")
		}
	}
	return nil
}

// failures says which pools and members failed, in the form that Consul's clients
// know, or nil.
func failures(reports []KeyReport) error {
	var faults []string
	for _, r := range reports {
		if r.Err == nil {
			continue
		}
		pool := r.Datacenter + " (LAN)"
		if r.WAN {
			pool = "WAN"
		}
		faults = append(faults, fmt.Sprintf("%s error: %v", pool, r.Err))
		for _, name := range slices.Sorted(maps.Keys(r.Messages)) {
			faults = append(faults, name+": "+r.Messages[name])
		}
	}
	if len(faults) == 0 {
		return nil
	}
	occurred := fmt.Sprintf("%d errors occurred", len(faults))
	if len(faults) == 1 {
		occurred = "1 error occurred"
	}
	return catalog.Errorf(catalog.Internal, "%s:\n\t* %s\n\n", occurred, strings.Join(faults, "\n\t* "))
}
