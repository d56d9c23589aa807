package state_test

import (
	"context"
	"fmt"

	"muster/catalog"
	"muster/catalog/state"
)

// A read notes what it depends on, waits for that to move, and reads again.
func Example() {
	store := state.New()
	register := func(index uint64, status string) {
		command := &catalog.Register{
			Node:    catalog.Node{Node: "n1", Address: "10.0.0.1"},
			Service: &catalog.Service{Service: "web", Port: 80},
			Checks:  []catalog.Check{{Name: "alive", ServiceID: "web", Status: status}},
		}
		command.Normalize()
		data, err := catalog.EncodeCommand(command)
		if err != nil {
			panic(err)
		}
		store.Apply([]state.Entry{{Index: index, Data: data}})
	}
	register(10, catalog.StatusCritical)

	view := store.View()
	web := view.ServiceInstances("web")
	fmt.Println(view.Index(), web[0].Node.Node, web[0].Checks[0].Status)

	flipped := make(chan struct{})
	go func() {
		register(11, catalog.StatusPassing)
		close(flipped)
	}()
	if err := store.Wait(context.Background(), view.Topics(), view.Index()); err != nil {
		panic(err)
	}
	view = store.View()
	web = view.ServiceInstances("web")
	fmt.Println(view.Index(), web[0].Node.Node, web[0].Checks[0].Status)
	<-flipped
	// Output:
	// 10 n1 critical
	// 11 n1 passing
}
