package state

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/google/btree"
)

// entry is a row in one index: at a key and, where several rows share that, at
// what identifies the row. Strings are shared between the indexes of a table.
type entry struct {
	key, id string
	row     any
}

func before(a, b entry) bool {
	if c := strings.Compare(a.key, b.key); c != 0 {
		return c < 0
	}
	return a.id < b.id
}

// degree of the trees. A write copies a node of degree to 2 degree - 1 entries on
// each level: larger nodes cost writes more, smaller ones take more memory.
const degree = 16

// db is all rows at one moment, a tree for each index. Once it is published it
// never changes: begin makes a copy that may be written to, which shares all
// nodes with it that no write has gone through.
type db struct {
	trees []*btree.BTreeG[entry] // by indexSchema.place
	own   []bool                 // the trees that are no longer shared; nil once published

	// cloning is held while a tree is cloned, which writes to the tree; reads don't
	// look at what. All copies share it, as they share trees.
	cloning *sync.Mutex

	staging *staging // the restore under way; nil if there is none
}

// newDB returns an empty db that may be written to.
func newDB() *db {
	d := &db{trees: make([]*btree.BTreeG[entry], numIndexes), own: make([]bool, numIndexes), cloning: new(sync.Mutex)}
	for i := range d.trees {
		d.trees[i], d.own[i] = btree.NewG(degree, before), true
	}
	return d
}

// begin returns a copy to write to, which is its caller's alone. The original may be
// read meanwhile and, where it is not published yet, be gone on with afterwards.
func (d *db) begin() *db {
	return &db{trees: slices.Clone(d.trees), own: make([]bool, len(d.trees)), cloning: d.cloning, staging: d.staging}
}

// publish ends the writing.
func (d *db) publish() *db {
	d.own = nil
	return d
}

// tree gives a tree to write to.
func (d *db) tree(x *indexSchema) *btree.BTreeG[entry] {
	if !d.own[x.place] {
		d.cloning.Lock()
		d.trees[x.place], d.own[x.place] = d.trees[x.place].Clone(), true
		d.cloning.Unlock()
	}
	return d.trees[x.place]
}

// insert puts a row in, in place of the one of the same identity.
func (d *db) insert(t *tableSchema, row any) {
	id := t.indexes[0].at(row, "")
	old, replaces := d.tree(t.indexes[0]).ReplaceOrInsert(id)
	for _, x := range t.indexes[1:] {
		next := x.at(row, id.key)
		if replaces {
			if last := x.at(old.row, id.key); last.row != nil && (next.row == nil || before(last, next) || before(next, last)) {
				d.tree(x).Delete(last)
			}
		}
		if next.row != nil {
			d.tree(x).ReplaceOrInsert(next)
		}
	}
}

// delete takes the row of the same identity out; it says whether there was one.
func (d *db) delete(t *tableSchema, row any) bool {
	id := t.indexes[0].at(row, "")
	old, ok := d.tree(t.indexes[0]).Delete(id)
	if !ok {
		return false
	}
	for _, x := range t.indexes[1:] {
		if last := x.at(old.row, id.key); last.row != nil {
			d.tree(x).Delete(last)
		}
	}
	return true
}

// below ranges over the rows whose key begins with a prefix.
func (d *db) below(x *indexSchema, prefix string) iter.Seq[any] {
	return func(yield func(any) bool) {
		d.trees[x.place].AscendGreaterOrEqual(entry{key: prefix}, func(e entry) bool {
			return strings.HasPrefix(e.key, prefix) && yield(e.row)
		})
	}
}

// size is the number of rows of a table.
func (d *db) size(t *tableSchema) int { return d.trees[t.indexes[0].place].Len() }

// tableSchema is a table's indexes, the first of which identifies its rows.
type tableSchema struct{ indexes []*indexSchema }

// indexSchema is one index.
type indexSchema struct {
	name   string
	place  int  // in db.trees
	unique bool // a key is of one row
	key    func(row any) (key string, ok bool)
}

// at is the entry of a row with an identity; its row is nil where the row is not
// in the index.
func (x *indexSchema) at(row any, id string) entry {
	key, ok := x.key(row)
	if !ok {
		return entry{}
	}
	if x.unique {
		id = ""
	}
	return entry{key, id, row}
}

// index finds an index by name; exact is whether its keys are looked up whole.
func (t *tableSchema) index(name string) (x *indexSchema, exact bool) {
	whole, prefix := strings.CutSuffix(name, "_prefix")
	for _, x := range t.indexes {
		if x.name == whole {
			return x, x.unique && !prefix
		}
	}
	panic(fmt.Sprintf("state: there is no index %q", name))
}
