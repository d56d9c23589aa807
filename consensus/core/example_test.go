package core_test

import (
	"fmt"
	"math/rand/v2"

	"muster/consensus/core"
)

// The whole life of a cluster of one: it is bootstrapped, elects itself, and
// commits a command once the driver has reported it as written.
func Example() {
	c, err := core.New(core.Config{ID: "alone", Rand: rand.Uint64N}, core.Restored{}, 0)
	if err != nil {
		panic(err)
	}
	err = c.Bootstrap(0, core.Configuration{
		ClusterID: "example",
		Servers:   []core.Server{{ID: "alone", Addr: "127.0.0.1:8300", Suffrage: core.Voter}},
	})
	if err != nil {
		panic(err)
	}
	c.Tick(c.Deadline())

	var last core.EntryID // what the driver's disk holds
	drive := func() {
		for c.HasOutput() {
			out := c.Output()
			for _, e := range out.Entries {
				last = core.EntryID{Term: e.Term, Index: e.Index}
			}
			if out.HardState != nil || len(out.Entries) > 0 {
				c.Written(c.Deadline(), core.Written{Seq: out.Seq, Last: last})
			}
			for _, o := range out.Outcomes {
				fmt.Printf("command %d stands at %+v\n", o.Token, o.ID)
			}
		}
	}
	drive()
	fmt.Println(c.Status().Role)

	c.Propose(c.Deadline(), []core.Proposal{{Token: 1, Data: []byte("x")}})
	drive()
	fmt.Println("committed up to", c.Status().Commit)
	// Output:
	// Leader
	// command 1 stands at {Term:2 Index:3}
	// committed up to 3
}
