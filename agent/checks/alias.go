package checks

import (
	"context"
	"fmt"

	"muster/catalog"
)

// IsAlias says whether d describes an alias: a check that is as well as the
// checks of another service, or of another node.
func (d *Definition) IsAlias() bool { return d.AliasNode != "" || d.AliasService != "" }

// AliasOf says whether d is an alias of something on node. An alias without a
// node means the agent's own.
func (d *Definition) AliasOf(node string) bool {
	return d.IsAlias() && (d.AliasNode == "" || catalog.Fold(d.AliasNode) == catalog.Fold(node))
}

// Weigh gives the state of an alias: the worst of the checks it stands for, and
// which one that is, the first of several. found says whether its service is
// there at all.
func (d *Definition) Weigh(found bool, cs []*catalog.Check) (status, output string) {
	if !found {
		return catalog.StatusCritical, fmt.Sprintf("Service %s could not be found on node %s", d.AliasService, d.AliasNode)
	}
	if len(cs) == 0 {
		return catalog.StatusPassing, "No checks found."
	}
	status, output = catalog.StatusPassing, "All checks passing."
	for _, c := range cs {
		if w := catalog.Worse(status, c.Status); w != status {
			status, output = w, fmt.Sprintf("Aliased check %q failing: %s", c.Name, c.Output)
		}
	}
	return status, output
}

// Aliased is what the catalog has of another node.
type Aliased struct {
	Index    uint64 // of the catalog as of which this is so
	Services map[string]bool
	Checks   []*catalog.Check // by ID
}

// newRemoteAlias makes the probe of an alias of another node: it answers as soon
// as the catalog's entries of that node are other than at its last answer.
func newRemoteAlias(d Definition, cfg Config) probe {
	var seen uint64
	return func(ctx context.Context) (string, string) {
		node, err := cfg.Watch(ctx, d.AliasNode, seen)
		if err != nil {
			seen = 0
			return catalog.StatusCritical, fmt.Sprintf("Failure checking aliased node or service: %s", err)
		}
		seen = node.Index
		var cs []*catalog.Check
		for _, c := range node.Checks {
			if c.ServiceID == "" || d.AliasService != "" && catalog.Fold(c.ServiceID) == catalog.Fold(d.AliasService) {
				cs = append(cs, c)
			}
		}
		return d.Weigh(d.AliasService == "" || node.Services[catalog.Fold(d.AliasService)], cs)
	}
}
