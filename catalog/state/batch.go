package state

import "muster/catalog"

// applyBatch carries out a catalog.Batch as entry index's. Each command sees what
// those before it wrote.
func (w *writer) applyBatch(index uint64, b *catalog.Batch) catalog.Result {
	results, changed := make([]catalog.Result, len(b.Commands)), false
	w.open(index)
	for i, c := range b.Commands {
		p := planOwned(w.reader, c)
		if p.changes() {
			w.write(&p)
			changed = true
		}
		results[i] = p.result()
	}
	if changed {
		w.close()
	}
	return catalog.Result{Changed: changed, Value: results}
}

// previewBatch tells whether a batch would change anything: the first of its
// commands that does, does so to what is there now.
func previewBatch(r reader, b *catalog.Batch) catalog.Result {
	results := make([]catalog.Result, len(b.Commands))
	for i, c := range b.Commands {
		p := planOwned(r, c)
		if p.changes() {
			return catalog.Result{Changed: true}
		}
		results[i] = p.result()
	}
	return catalog.Result{Value: results}
}

func planOwned(r reader, c catalog.Owned) plan {
	if cmd := c.Command(); cmd != nil {
		return planCommand(r, cmd)
	}
	return refuse(catalog.Invalid, "the command is of a kind that is not known")
}
