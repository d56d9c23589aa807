package agent

import (
	"errors"
	"strings"
	"testing"

	"muster/catalog"
	"muster/catalog/state"
	"muster/consensus/core"
)

// A command of a later release is not passed over: the other servers carry it
// out, and this one's state would differ from theirs for good.
func TestStateMachine_StopsAtACommandOfALaterRelease(t *testing.T) {
	known, err := catalog.EncodeCommand(&catalog.Register{Node: catalog.Node{Node: "n1", Address: "192.0.2.1"}})
	if err != nil {
		t.Fatal(err)
	}
	m := stateMachine{state.New()}
	if _, err := m.Apply([]core.Entry{{Index: 3, Data: known}}); err != nil {
		t.Fatal(err)
	}
	later := []core.Entry{{Index: 4, Data: known}, {Index: 5, Data: []byte{250, 1, 0x80}}}
	if _, err := m.Apply(later); !errors.Is(err, catalog.ErrLaterRelease) || !strings.Contains(err.Error(), "entry 5") {
		t.Errorf("the batch was taken: %v", err)
	}
	if m.store.Index() != 3 {
		t.Errorf("the state has gone on to entry %d", m.store.Index())
	}
}
