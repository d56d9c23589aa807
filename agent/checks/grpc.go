package checks

import (
	"context"
	"fmt"
	"net"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"

	"muster/catalog"
)

// maxGRPCAnswer bounds the answer to a health request, in bytes.
const maxGRPCAnswer = 64 << 10

// splitGRPC takes a gRPC check's target apart: host:port, and after a slash the
// service to ask for; without one the whole server is asked.
func splitGRPC(target string) (addr, service string) {
	addr, service, _ = strings.Cut(target, "/")
	return addr, service
}

// newGRPC makes the probe of a gRPC check, which speaks the gRPC health checking
// protocol (https://grpc.io/docs/guides/health-checking): SERVING is passing.
// Each question has a connection of its own. No proxy is used.
func newGRPC(d Definition, cfg Config) probe {
	addr, service := splitGRPC(d.GRPC)
	host, _, _ := net.SplitHostPort(addr) // Validate has looked
	creds := insecure.NewCredentials()
	if d.GRPCUseTLS {
		creds = credentials.NewTLS(d.tlsConfig(host))
	}
	timeout := d.timeout(defaultTimeout)
	return func(ctx context.Context) (string, string) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		conn, err := grpc.NewClient("passthrough:///"+addr,
			grpc.WithTransportCredentials(creds), grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
			grpc.WithUserAgent(cfg.UserAgent), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxGRPCAnswer)))
		if err != nil {
			return catalog.StatusCritical, err.Error()
		}
		defer conn.Close()
		answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{Service: service})
		switch {
		case err != nil:
			return catalog.StatusCritical, err.Error()
		case answer.Status != grpc_health_v1.HealthCheckResponse_SERVING:
			return catalog.StatusCritical, fmt.Sprintf("gRPC %s serving status: %s", d.GRPC, answer.Status)
		}
		return catalog.StatusPassing, fmt.Sprintf("gRPC check %s: success", d.GRPC)
	}
}
