package local

import (
	"cmp"
	"slices"
	"time"

	"muster/agent/checks"
	"muster/catalog"
)

// followAliases brings the aliases of things on this node in line with what they
// stand for, in the same step in which that changes. The caller holds mu.
func (s *State) followAliases() {
	if len(s.aliases) == 0 {
		return
	}
	byService := map[string][]*check{} // by folded ID, "" for the node's own
	for _, c := range s.checks {
		key := catalog.Fold(c.def.ServiceID)
		byService[key] = append(byService[key], c)
	}
	for _, c := range s.aliases {
		_, found := s.services[catalog.Fold(c.def.AliasService)]
		status, output := c.def.Weigh(found || c.def.AliasService == "", s.standsFor(&c.def, byService))
		s.settle(c, status, output, time.Now())
	}
}

// followed says whether d is an alias that this state follows by itself; one of
// another node is the runner's.
func (s *State) followed(d *checks.Definition) bool { return d.AliasOf(s.cfg.Node.Node) }

// standsFor gives the checks that an alias comes down to, by ID: those of the
// node, and of its service. Where another alias is among them its own checks
// count in its place: so aliases in a circle stand for what is known of any of
// them, and can't hold each other critical. The caller holds mu.
func (s *State) standsFor(alias *checks.Definition, byService map[string][]*check) []*catalog.Check {
	services := []string{""}
	add := func(id string) {
		if key := catalog.Fold(id); !slices.Contains(services, key) {
			services = append(services, key)
		}
	}
	add(alias.AliasService)
	var cs []*catalog.Check
	for i := 0; i < len(services); i++ { // it grows as it goes
		for _, c := range byService[services[i]] {
			if s.followed(&c.def) {
				add(c.def.AliasService)
			} else {
				cs = append(cs, c.current)
			}
		}
	}
	slices.SortFunc(cs, func(a, b *catalog.Check) int {
		return cmp.Compare(catalog.Fold(a.CheckID), catalog.Fold(b.CheckID))
	})
	return cs
}
