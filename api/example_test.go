package api_test

import (
	"fmt"
	"net/http/httptest"

	"muster/api"
)

// A route is a row; options, errors and headers come from around it.
func ExampleNew() {
	hello := []api.Route{{
		Method: "GET", Path: "/v1/hello/{name}", Kind: api.Local,
		Doc: "Greets whom the path names.",
		Do:  func(r *api.Request) (any, error) { return []string{"hello", r.Var("name")}, nil },
	}}
	server, err := api.New(api.DefaultConfig(), api.Deps{Cluster: newCluster()}, hello)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, method := range []string{"GET", "PUT"} {
		w := httptest.NewRecorder()
		server.Handler().ServeHTTP(w, httptest.NewRequest(method, "/v1/hello/world", nil))
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 200 ["hello","world"]
	// 405 method PUT not allowed
}
