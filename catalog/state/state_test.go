package state

import (
	"bytes"
	"testing"

	"muster/catalog"
)

const (
	idA = "aaaaaaaa-1111-1111-1111-111111111111"
	idB = "bbbbbbbb-2222-2222-2222-222222222222"
)

// fixture is a store with the index of the last entry it was given.
type fixture struct {
	testing.TB
	*Store
	index uint64
}

func newFixture(t testing.TB, commands ...catalog.Command) *fixture {
	f := &fixture{TB: t, Store: New()}
	for _, c := range commands {
		f.must(c)
	}
	return f
}

// apply applies one command as the next entry.
func (f *fixture) apply(c catalog.Command) catalog.Result {
	f.Helper()
	f.index++
	return f.Apply([]Entry{{f.index, encode(f, c)}})[0]
}

// must applies a command that has to change something and returns its index.
func (f *fixture) must(c catalog.Command) uint64 {
	f.Helper()
	if r := f.apply(c); r.Err != nil || !r.Changed {
		f.Fatalf("apply %+v: changed %t, %v", c, r.Changed, r.Err)
	}
	return f.index
}

// mustKeep applies a command that has to change nothing.
func (f *fixture) mustKeep(c catalog.Command) {
	f.Helper()
	before := f.content()
	if r := f.Preview(c); r.Err != nil || r.Changed {
		f.Fatalf("preview %+v: changed %t, %v", c, r.Changed, r.Err)
	}
	if r := f.apply(c); r.Err != nil || r.Changed {
		f.Fatalf("apply %+v: changed %t, %v", c, r.Changed, r.Err)
	}
	if after := f.content(); !bytes.Equal(before, after) {
		f.Fatalf("apply %+v says unchanged and changed the state", c)
	}
}

// mustRefuse applies a command that has to fail with a text and change nothing.
func (f *fixture) mustRefuse(c catalog.Command, kind catalog.Kind, text string) {
	f.Helper()
	before := f.content()
	if r := f.Preview(c); r.Err == nil || r.Err.Error() != text {
		f.Fatalf("preview %+v: %v\nwant %s", c, r.Err, text)
	}
	r := f.apply(c)
	if r.Err == nil || r.Changed || r.Err.Error() != text || catalog.KindOf(r.Err) != kind {
		f.Fatalf("apply %+v: changed %t, %v\nwant %s", c, r.Changed, r.Err, text)
	}
	if after := f.content(); !bytes.Equal(before, after) {
		f.Fatalf("apply %+v was refused and changed the state", c)
	}
}

// content is the snapshot without the index of the last entry.
func (f *fixture) content() []byte {
	f.Helper()
	snap := f.Snapshot()
	meta := *snap.reader.meta()
	meta.Applied = 0
	w := writer{reader: reader{snap.reader.db.begin()}}
	w.insert(tableMeta, &meta)
	return snapshotBytes(f, &Snapshot{w.reader})
}

func snapshotBytes(t testing.TB, s *Snapshot) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := s.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("write snapshot: %d of %d bytes, %v", n, b.Len(), err)
	}
	return b.Bytes()
}

func encode(t testing.TB, c catalog.Command) []byte {
	t.Helper()
	b, err := catalog.EncodeCommand(c)
	if err != nil {
		t.Fatalf("encode %+v: %v", c, err)
	}
	return b
}

// register is a normalised register of a node; options add to it.
func register(node string, options ...func(*catalog.Register)) *catalog.Register {
	r := &catalog.Register{Node: catalog.Node{Node: node, Address: "10.0.0.1", Datacenter: "dc1"}}
	for _, o := range options {
		o(r)
	}
	r.Normalize()
	return r
}

func withID(id string) func(*catalog.Register) {
	return func(r *catalog.Register) { r.Node.ID = id }
}

func withAddress(a string) func(*catalog.Register) {
	return func(r *catalog.Register) { r.Node.Address = a }
}

func withService(id, name string, tags ...string) func(*catalog.Register) {
	return func(r *catalog.Register) { r.Service = &catalog.Service{ID: id, Service: name, Tags: tags, Port: 80} }
}

func withProxy(id, name, destination string) func(*catalog.Register) {
	return func(r *catalog.Register) {
		r.Service = &catalog.Service{Kind: catalog.KindConnectProxy, ID: id, Service: name, Port: 81,
			Proxy: &catalog.Proxy{DestinationServiceName: destination}}
	}
}

func withCheck(id, serviceID, status string) func(*catalog.Register) {
	return func(r *catalog.Register) {
		r.Checks = append(r.Checks, catalog.Check{CheckID: id, Name: id, ServiceID: serviceID, Status: status})
	}
}

func withSource(nodeID string, seq uint64) func(*catalog.Register) {
	return func(r *catalog.Register) { r.Source = catalog.Source{NodeID: nodeID, Seq: seq} }
}

func skipNode(r *catalog.Register) { r.SkipNodeUpdate = true }
