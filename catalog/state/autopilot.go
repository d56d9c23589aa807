package state

import "muster/catalog"

func planSetAutopilot(r reader, c *catalog.SetAutopilot) plan {
	old, next := r.autopilot(), c.Autopilot
	next.Indexes = catalog.Indexes{}
	if old != nil {
		next.Indexes = old.Indexes
	}
	switch {
	case c.CAS && c.Index != next.ModifyIndex:
		return plan{value: false}
	case old != nil && old.Same(&next):
		return plan{value: true}
	}
	return plan{value: true, autopilot: &next}
}

func (r reader) autopilot() *catalog.Autopilot {
	return first[*catalog.Autopilot](r, tableAutopilot, byID, autopilotKey)
}

func (w *writer) putAutopilot(a *catalog.Autopilot) {
	w.stamp(&a.Indexes)
	w.insert(tableAutopilot, a)
	w.touch(Topic{Kind: TopicAutopilot})
}

// Autopilot returns what the cluster is set to; catalog.DefaultAutopilot, without
// indexes, where nobody has set anything.
func (v *View) Autopilot() catalog.Autopilot {
	v.Read(Topic{Kind: TopicAutopilot})
	if a := v.autopilot(); a != nil {
		return *a
	}
	return catalog.DefaultAutopilot()
}

func (l *loader) loadAutopilot(body []byte) error {
	a := new(catalog.Autopilot)
	if err := catalog.Unmarshal(body, a); err != nil {
		return err
	}
	err := l.known(a.CreateIndex, a.ModifyIndex)
	if err == nil {
		err = l.ascends(autopilotKey)
	}
	if err == nil {
		l.insert(tableAutopilot, a)
	}
	return err
}
