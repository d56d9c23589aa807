package memfs

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
)

// Law says what un-synced data suffers in a crash; see the package comment.
type Law int

// The laws. Laws lists them all.
const (
	Kill Law = iota
	LoseAll
	KeepAll
	Torn
	Scattered
	DataOnly
	EntryOnly
)

// Laws are all laws there are.
func Laws() []Law { return []Law{Kill, LoseAll, KeepAll, Torn, Scattered, DataOnly, EntryOnly} }

func (l Law) String() string {
	names := [...]string{"kill", "lose-all", "keep-all", "torn", "scattered", "data-only", "entry-only"}
	if l < 0 || int(l) >= len(names) {
		return fmt.Sprintf("law %d", int(l))
	}
	return names[l]
}

// Crash gives the file system as it is found after a crash under a law, without
// hook and capacity. The receiver, which must come from NewFaulty, and its open
// files go on as if nothing had happened, so that one run can be crashed in
// many ways. rnd is used by Torn and Scattered only.
func (f *FS) Crash(law Law, rnd *rand.Rand) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	after := NewFaulty()
	c := crash{law: law, rnd: rnd, nodes: map[*inode]*inode{}}
	for _, name := range slices.Sorted(maps.Keys(f.durable)) {
		after.durable[name] = c.node(f.durable[name])
	}
	if law == Kill {
		after.entries = maps.Clone(after.durable)
		for _, ch := range f.unsynced {
			ch.node = c.node(ch.node)
			after.change(ch)
		}
	} else {
		for _, ch := range c.surviving(f.unsynced) {
			ch.node = c.node(ch.node)
			ch.apply(after.durable)
		}
		after.entries = maps.Clone(after.durable)
	}
	for _, node := range after.entries {
		after.used += node.data.size
	}
	return after
}

// crash is one crash under way.
type crash struct {
	law   Law
	rnd   *rand.Rand
	nodes map[*inode]*inode // before → after; nil → nil
}

// node is what becomes of a file.
func (c *crash) node(n *inode) *inode {
	if n == nil || c.nodes[n] != nil {
		return c.nodes[n]
	}
	m := &inode{disk: n.disk.clone()}
	c.nodes[n] = m
	if c.law == Kill {
		m.data, m.pending = n.data.clone(), slices.Clone(n.pending)
		return m
	}
	var parts []write
	for _, w := range n.pending {
		parts = append(parts, w.sectors()...)
	}
	switch c.law {
	case LoseAll, EntryOnly:
		parts = nil
	case Torn:
		parts = parts[:c.rnd.IntN(len(parts)+1)]
	case Scattered:
		parts = c.some(parts)
	}
	for _, w := range parts {
		w.apply(&m.disk)
	}
	m.data = m.disk.clone()
	return m
}

// some keeps a random part of parts. How many survive is drawn first, so that
// nearly all and nearly none are met as often as half of them.
func (c *crash) some(parts []write) []write {
	p := c.rnd.Float64()
	var kept []write
	for _, w := range parts {
		if c.rnd.Float64() < p {
			kept = append(kept, w)
		}
	}
	return kept
}

// surviving are the changes of directory entries that reached the disk. A
// change whose file has no name on the disk to be renamed from makes one.
func (c *crash) surviving(changes []change) []change {
	switch c.law {
	case LoseAll, DataOnly:
		return nil
	case Torn:
		return changes[:c.rnd.IntN(len(changes)+1)]
	case Scattered:
		var kept []change
		for _, ch := range changes {
			if c.rnd.IntN(2) == 0 {
				kept = append(kept, ch)
			}
		}
		return kept
	}
	return changes
}

// Clone gives an independent copy of a file system in which all is durable,
// without hook and capacity.
func (f *FS) Clone() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := &FS{faulty: f.faulty, entries: map[string]*inode{}, used: f.used}
	for name, node := range f.entries {
		n := &inode{data: node.data.clone()}
		if f.faulty {
			n.disk = node.data.clone()
		}
		c.entries[name] = n
	}
	if f.faulty {
		c.durable = maps.Clone(c.entries)
	}
	return c
}

// FlipBit damages one bit of a file, at once and durably. Bit 0 is the lowest
// of byte 0. It says whether the file has such a bit.
func (f *FS) FlipBit(name string, bit int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	node := f.entries[filepath.Clean(name)]
	off := bit / 8
	if node == nil || bit < 0 || off >= node.data.size {
		return false
	}
	for _, m := range []*image{&node.data, &node.disk} {
		var b [1]byte
		if _, err := m.readAt(b[:], off); err == nil {
			b[0] ^= 1 << (bit % 8)
			m.writeAt(b[:], off)
		}
	}
	return true
}

// Truncate shortens a file, at once and durably, as damage does.
func (f *FS) Truncate(name string, size int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	node := f.entries[filepath.Clean(name)]
	if node == nil || size > node.data.size {
		return false
	}
	b := make([]byte, size)
	_, _ = node.data.readAt(b, 0) // shorter than the file: reads whole
	m := image{}
	m.writeAt(b, 0)
	node.data, node.disk, node.pending = m, m.clone(), nil
	return true
}
