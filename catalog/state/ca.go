package state

import (
	"errors"
	"slices"

	"muster/catalog"
)

// planSetCA replaces the certificate authority.
func planSetCA(r reader, c *catalog.SetCA) plan {
	if err := soundCA(&c.CA); err != nil {
		return plan{err: catalog.Wrap(catalog.Invalid, err)}
	}
	old, next := r.ca(), c.CA
	next.Indexes = catalog.Indexes{}
	if old != nil {
		next.Indexes = old.Indexes
	}
	switch {
	case c.Index != next.ModifyIndex:
		return plan{value: false}
	case old != nil && old.Same(&next):
		return plan{value: true}
	}
	return plan{value: true, ca: &next}
}

// soundCA refuses what the rest of this program could not work with.
func soundCA(a *catalog.CA) error {
	if a.ClusterID == "" || len(a.Roots) == 0 || !isObject(a.Config) {
		return errors.New("a certificate authority must have a cluster ID, settings and a root")
	}
	return nil
}

func (r reader) ca() *catalog.CA { return first[*catalog.CA](r, tableCA, byID, caKey) }

// putCA writes the authority. A root's indexes tell when it came, and when something
// about it changed.
func (w *writer) putCA(a *catalog.CA) {
	old := w.ca()
	a.Roots = slices.Clone(a.Roots)
	for i := range a.Roots {
		root := &a.Roots[i]
		root.Indexes = catalog.Indexes{}
		if before := rootOf(old, root.ID); before != nil {
			root.Indexes = before.Indexes
			if root.Same(before) {
				continue
			}
		}
		w.stamp(&root.Indexes)
	}
	w.stamp(&a.Indexes)
	w.insert(tableCA, a)
	w.touch(Topic{Kind: TopicCA})
}

// rootOf is the root with an ID, nil if there is none.
func rootOf(a *catalog.CA, id string) *catalog.CARoot {
	if a == nil {
		return nil
	}
	if i := slices.IndexFunc(a.Roots, func(r catalog.CARoot) bool { return r.ID == id }); i >= 0 {
		return &a.Roots[i]
	}
	return nil
}

// CA returns the certificate authority, nil while there is none. It has the private
// key, which must not leave the server.
func (v *View) CA() *catalog.CA {
	v.Read(Topic{Kind: TopicCA})
	return v.ca()
}

func (l *loader) loadCA(body []byte) error {
	a := new(catalog.CA)
	if err := catalog.Unmarshal(body, a); err != nil {
		return err
	}
	err := errors.Join(soundCA(a), l.known(a.CreateIndex, a.ModifyIndex), l.ascends(caKey))
	for _, root := range a.Roots {
		err = errors.Join(err, l.known(root.CreateIndex, root.ModifyIndex))
	}
	if err == nil {
		l.insert(tableCA, a)
	}
	return err
}

// copyCA copies the authority of an archive, so that the certificates of that time
// are trusted again; where the archive is older than any, the cluster's own stays,
// and with it the certificates that are out.
func (w *writer) copyCA(archived, own reader) {
	old := archived.ca()
	if old == nil {
		old = own.ca()
	}
	if old == nil {
		return
	}
	a := *old
	a.ModifyIndex = w.index
	a.Roots = slices.Clone(a.Roots)
	for i := range a.Roots {
		a.Roots[i].ModifyIndex = w.index
	}
	w.insert(tableCA, &a)
}
