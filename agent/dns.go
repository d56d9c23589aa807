package agent

import (
	"context"
	"fmt"
	"net"

	mdns "github.com/miekg/dns"

	"muster/agent/config"
	"muster/agent/dns"
)

const (
	// dnsConnsPerClient bounds TCP connections from one address. They are closed
	// after 8 s without a question.
	dnsConnsPerClient = 200
	// dnsRequestSize is the largest question taken over UDP.
	dnsRequestSize = 4096
)

// dnsFront is this agent's DNS: what answers, where it looks, and the sockets.
type dnsFront struct {
	handler *dns.Server
	lookup  interface {
		dns.Lookup
		configure(config.DNS)
	}
	servers []*mdns.Server
}

// openDNS makes what answers DNS and binds where it is served.
func (a *Agent) openDNS() error {
	f := &dnsFront{}
	if a.quorum != nil {
		// Client agents ask it too, also where this agent serves no DNS.
		a.catalogNames = newCatalogNames(a.quorum, a.cfg.NodeName, a.cfg.RPCHoldTimeout)
		f.lookup = a.catalogNames
	} else {
		a.watches = newWatches(a.router, a.cfg.NodeName, a.cfg.RPCHoldTimeout)
		f.lookup = a.watches
	}
	f.lookup.configure(a.cfg.DNS)
	if len(a.cfg.DNS.Listen) == 0 {
		return nil
	}
	var err error
	f.handler, err = dns.New(a.cfg.DNS.Answers, f.lookup, dns.Options{
		Registerer: a.opts.Registry, Logger: a.opts.Logger.With("component", "dns"),
	})
	if err != nil {
		return err
	}
	a.undo = append(a.undo, f.handler.Close)
	for _, addr := range a.cfg.DNS.Listen {
		tcp, err := net.Listen("tcp", addr)
		if err != nil {
			return fmt.Errorf("listen for DNS: %w", err)
		}
		a.undo = append(a.undo, func() { _ = tcp.Close() })
		udp, err := net.ListenPacket("udp", addr)
		if err != nil {
			return fmt.Errorf("listen for DNS: %w", err)
		}
		a.undo = append(a.undo, func() { _ = udp.Close() })
		f.servers = append(f.servers,
			&mdns.Server{PacketConn: udp, Handler: f.handler, UDPSize: dnsRequestSize},
			&mdns.Server{Listener: limitPerClient(tcp, dnsConnsPerClient, nil), Handler: f.handler, MaxTCPQueries: -1})
	}
	a.dns = f
	return nil
}

// reload takes what of a changed configuration needs no new sockets.
func (f *dnsFront) reload(cfg config.DNS) error {
	if err := f.handler.Reload(cfg.Answers); err != nil {
		return err
	}
	f.lookup.configure(cfg)
	return nil
}

// serve answers on one socket until ctx ends.
func (f *dnsFront) serve(ctx context.Context, server *mdns.Server) error {
	served := make(chan error, 1)
	go func() { served <- server.ActivateAndServe() }()
	select {
	case err := <-served:
		return fmt.Errorf("serve DNS: %w", err)
	case <-ctx.Done():
	}
	f.handler.Close() // ends questions that wait for someone else
	drain, stop := context.WithTimeout(context.Background(), httpDrain)
	defer stop()
	// It fails where serving has hardly begun, and closing the socket ends that.
	_ = server.ShutdownContext(drain)
	if server.Listener != nil {
		_ = server.Listener.Close()
	} else {
		_ = server.PacketConn.Close()
	}
	<-served
	return nil
}
