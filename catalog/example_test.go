package catalog_test

import (
	"fmt"

	"muster/catalog"
)

// A proposer fills in and checks a command, and encodes it for the log.
func Example() {
	command := &catalog.Register{
		Node:    catalog.Node{Node: "n1", Address: "10.0.0.1"},
		Service: &catalog.Service{Service: "web", Port: 80},
		Checks:  []catalog.Check{{Name: "alive", ServiceID: "web"}},
	}
	command.Normalize()
	if err := command.Validate(); err != nil {
		fmt.Println("refused:", err)
		return
	}
	entry, err := catalog.EncodeCommand(command)
	if err != nil {
		fmt.Println(err)
		return
	}

	decoded, err := catalog.DecodeCommand(entry)
	if err != nil {
		fmt.Println(err)
		return
	}
	r := decoded.(*catalog.Register)
	fmt.Println(r.Node.Node, r.Service.ID, r.Checks[0].CheckID, r.Checks[0].Status)
	// Output: n1 web alive critical
}
