package checks_test

import (
	"context"
	"fmt"
	"time"

	"muster/agent/checks"
)

func ExampleRunner() {
	ctx, stop := context.WithCancel(context.Background())
	r := checks.NewRunner(checks.Config{
		Report: func(id, status, output string) {
			fmt.Println(id, status, output)
			stop()
		},
	})
	if err := r.Add(checks.Definition{CheckID: "job", TTL: 10 * time.Millisecond}, "run 7 done"); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(r.Run(ctx))
	// Output:
	// job critical TTL expired (last output before timeout follows): run 7 done
	// <nil>
}
