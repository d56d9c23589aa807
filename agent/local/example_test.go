package local_test

import (
	"fmt"
	"time"

	"muster/agent/checks"
	"muster/agent/local"
	"muster/catalog"
)

func ExampleState() {
	cfg := local.DefaultConfig()
	cfg.Node = catalog.Node{Node: "n1", Address: "10.0.0.1"}
	s, err := local.New(cfg)
	if err != nil {
		fmt.Println(err)
		return
	}
	service := catalog.Service{Service: "web", Port: 80}
	check := checks.Definition{TTL: 30 * time.Second}
	fmt.Println(s.AddService(service, []checks.Definition{check}, local.Options{}))
	web, _ := s.Check("service:web")
	fmt.Println(web.Status)
	fmt.Println(s.UpdateTTL("service:web", catalog.StatusPassing, "warmed up"))
	web, _ = s.Check("service:web")
	fmt.Println(web.Status)
	// Output:
	// <nil>
	// critical
	// <nil>
	// passing
}
