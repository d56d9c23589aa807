package catalog

import (
	"fmt"
	"strings"
	"testing"
)

// What Consul 1.21 answered to the same registrations.
func TestService_ValidateMesh(t *testing.T) {
	to := func(name string, port int) Upstream { return Upstream{DestinationName: name, LocalBindPort: port} }
	proxy := func(upstreams ...Upstream) Service {
		return Service{Service: "p", Kind: KindConnectProxy, Port: 1, Proxy: &Proxy{DestinationServiceName: "w", Upstreams: upstreams}}
	}
	expose := func(paths ...ExposePath) Service {
		s := proxy()
		s.Proxy.Expose.Paths = paths
		return s
	}
	gateway := func(kind string, port int, p Proxy) Service {
		return Service{Service: "g", Kind: kind, Port: port, Proxy: &p}
	}
	const twice = `upstreams cannot contain duplicates by local bind address and port or unix path; %q is specified twice`
	for name, c := range map[string]struct {
		service Service
		want    []string
	}{
		"upstreams":           {proxy(to("a", 1), to("b", 2)), nil},
		"by query and name":   {proxy(to("a", 1), Upstream{DestinationName: "a", DestinationType: "prepared_query", LocalBindPort: 2}), nil},
		"in two datacenters":  {proxy(to("a", 1), Upstream{DestinationName: "a", Datacenter: "dc2", LocalBindPort: 2}), nil},
		"ports of two hosts":  {proxy(to("a", 1), Upstream{DestinationName: "b", LocalBindAddress: "::1", LocalBindPort: 1}), nil},
		"of central config":   {proxy(Upstream{DestinationName: "*", CentrallyConfigured: true}), nil},
		"wildcard":            {proxy(to("*", 1)), []string{"upstream destination name cannot be a wildcard"}},
		"no names":            {proxy(Upstream{}, Upstream{}), []string{"upstream destination name cannot be empty", "upstream destination name cannot be empty"}},
		"unknown type":        {proxy(Upstream{DestinationType: "zz", DestinationName: "*"}), []string{`unknown upstream destination type: "zz"`}},
		"nowhere":             {proxy(to("a", 0)), []string{"upstream local bind port or local socket path must be defined and nonzero"}},
		"port and socket":     {proxy(Upstream{DestinationName: "a", LocalBindPort: 1, LocalBindSocketPath: "/s"}), []string{"only one of upstream local bind port or local socket path can be defined and nonzero"}},
		"peer and datacenter": {proxy(Upstream{DestinationName: "a", LocalBindPort: 1, DestinationPeer: "p", Datacenter: "d"}), []string{"upstream cannot specify both destination peer and datacenter"}},
		"same port": {proxy(to("a", 1), Upstream{DestinationName: "b", LocalBindAddress: "127.0.0.1", LocalBindPort: 1}, to("c", 1)),
			[]string{fmt.Sprintf(twice, "127.0.0.1:1"), fmt.Sprintf(twice, "127.0.0.1:1")}},
		"same socket": {proxy(Upstream{DestinationName: "a", LocalBindSocketPath: "/s"}, Upstream{DestinationName: "b", LocalBindSocketPath: "/s"}), []string{fmt.Sprintf(twice, "/s")}},
		"same destination and port": {proxy(to("a", 1), to("a", 1)),
			[]string{`upstreams cannot contain duplicates of [type="service", name="a", partition="", namespace="", peer="", datacenter=""]`}},
		"proxy of all": {Service{Service: "p", Kind: KindConnectProxy, Port: 1, Proxy: &Proxy{DestinationServiceName: "*"}},
			[]string{"Proxy.DestinationServiceName must not be a wildcard for Connect proxy services"}},

		"paths":           {expose(ExposePath{Path: "/a", ListenerPort: 1}, ExposePath{Path: "/b", ListenerPort: 65535, Protocol: "HTTP2"}), nil},
		"path and port":   {expose(ExposePath{ListenerPort: 65536}), []string{"expose.paths: empty path exposed", "expose.paths: invalid listener port: 65536"}},
		"two without one": {expose(ExposePath{Path: "/a"}, ExposePath{Path: "/b"}), []string{"expose.paths: invalid listener port: 0", "expose.paths: duplicate listener ports exposed", "expose.paths: invalid listener port: 0"}},
		"path's protocol": {expose(ExposePath{Path: "h", ListenerPort: 1, Protocol: "zz"}), []string{"protocol 'zz' not supported for path: h, must be in: [http http2]"}},

		"mesh gateway":             {gateway(KindMeshGateway, 1, Proxy{Config: map[string]any{"a": "b"}}), nil},
		"ingress without port":     {gateway(KindIngressGateway, 0, Proxy{}), nil},
		"api without port":         {gateway(KindAPIGateway, 0, Proxy{}), nil},
		"mesh without port":        {gateway(KindMeshGateway, 0, Proxy{}), []string{"Port must be non-zero for a mesh-gateway"}},
		"gateway of one service":   {gateway(KindAPIGateway, 0, Proxy{DestinationServiceName: "w"}), []string{"The Proxy.DestinationServiceName configuration is invalid for a api-gateway"}},
		"another kind, upstreams":  {Service{Service: "w", Kind: "zz", Proxy: &Proxy{Upstreams: []Upstream{{}}}}, nil},
		"another without upstream": {Service{Service: "w", Proxy: &Proxy{Upstreams: []Upstream{{}}}}, nil},
		"sidecar of a gateway": {Service{Service: "g", Kind: KindIngressGateway, Connect: Connect{SidecarService: &Service{}}},
			[]string{"A ingress-gateway cannot have a sidecar service defined"}},
		"terminating, all wrong": {gateway(KindTerminatingGateway, 0, Proxy{Upstreams: []Upstream{{}}, DestinationServiceName: "q", DestinationServiceID: "q", LocalServiceAddress: "x", LocalServicePort: 3, LocalServiceSocketPath: "/s"}),
			[]string{"Port must be non-zero for a terminating-gateway",
				"The Proxy.DestinationServiceName configuration is invalid for a terminating-gateway",
				"The Proxy.DestinationServiceID configuration is invalid for a terminating-gateway",
				"The Proxy.LocalServiceAddress configuration is invalid for a terminating-gateway",
				"The Proxy.LocalServicePort configuration is invalid for a terminating-gateway",
				"The Proxy.LocalServiceSocketPath configuration is invalid for a terminating-gateway",
				"The Proxy.Upstreams configuration is invalid for a terminating-gateway"}},
	} {
		t.Run(name, func(t *testing.T) {
			want := ""
			if len(c.want) > 0 {
				plural := "s"
				if len(c.want) == 1 {
					plural = ""
				}
				want = fmt.Sprintf("%d error%s occurred:\n\t* %s\n\n", len(c.want), plural, strings.Join(c.want, "\n\t* "))
			}
			got := ""
			if err := c.service.ValidateMesh(); err != nil {
				got = err.Error()
			}
			if got != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}
