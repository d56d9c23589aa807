package gossip

import (
	"testing"

	"go.uber.org/goleak"
)

// A probe of memberlist's that is under way when a pool shuts down ends by its
// own timeout; memberlist gives nothing to wait for it with.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"))
}
