package local

import (
	"maps"
	"slices"
	"time"

	"muster/agent/checks"
	"muster/catalog"
)

// followAliases brings the aliases of things on this node in line with what they
// stand for, in the same step in which that changes. The caller holds mu.
func (s *State) followAliases() {
	for _, c := range s.aliases {
		_, found := s.services[catalog.Fold(c.def.AliasService)]
		status, output := c.def.Weigh(found || c.def.AliasService == "", s.standsFor(&c.def))
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
func (s *State) standsFor(alias *checks.Definition) []*catalog.Check {
	want := map[string]bool{"": true, catalog.Fold(alias.AliasService): true}
	for grown := true; grown; {
		grown = false
		for _, c := range s.checks {
			if to := catalog.Fold(c.def.AliasService); want[catalog.Fold(c.def.ServiceID)] && s.followed(&c.def) && !want[to] {
				want[to], grown = true, true
			}
		}
	}
	var cs []*catalog.Check
	for _, key := range slices.Sorted(maps.Keys(s.checks)) {
		if c := s.checks[key]; want[catalog.Fold(c.def.ServiceID)] && !s.followed(&c.def) {
			cs = append(cs, c.current)
		}
	}
	return cs
}
