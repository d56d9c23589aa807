package config

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"muster/agent/dns"
)

func defaultDNS() DNS {
	const tenYears = 10 * 365 * 24 * time.Hour
	return DNS{Answers: dns.DefaultConfig(), AllowStale: true, MaxStale: tenYears, UseCache: true}
}

// finishDNS lists where DNS is served, and checks how it answers.
func (d *draft) finishDNS() {
	d.DNS.Answers.Datacenter = d.Datacenter
	d.finishDNSAddrs()
	for _, text := range d.recursors {
		resolved, err := resolve(text)
		if err != nil {
			d.faultIn("recursors", "recursors: %w", err)
			continue
		}
		for word := range strings.FieldsSeq(resolved) {
			d.addRecursor(word)
		}
	}
	for name, text := range d.serviceTTL {
		ttl, err := time.ParseDuration(text)
		if err != nil {
			d.faultIn("dns_config.service_ttl", "dns_config.service_ttl %q has an invalid duration: %q: %w", name, text, err)
			continue
		}
		if d.DNS.Answers.ServiceTTL == nil {
			d.DNS.Answers.ServiceTTL = map[string]time.Duration{}
		}
		d.DNS.Answers.ServiceTTL[name] = ttl
	}
	if err := d.DNS.Answers.Validate(); err != nil {
		d.faults = append(d.faults, err)
	}
}

// addRecursor takes host:port, or a bare IP, whose port is 53.
func (d *draft) addRecursor(text string) {
	addr, err := netip.ParseAddrPort(text)
	if err != nil {
		ip, bare := netip.ParseAddr(strings.Trim(text, "[]"))
		if bare != nil {
			d.faultIn("recursors", "recursors: invalid recursor address %q; give an IP address, with or without a port", text)
			return
		}
		addr = netip.AddrPortFrom(ip, 53)
	}
	if s := addr.String(); !slices.Contains(d.DNS.Answers.Recursors, s) {
		d.DNS.Answers.Recursors = append(d.DNS.Answers.Recursors, s)
	}
}

func (d *draft) finishDNSAddrs() {
	path, text := "client_addr", d.clientAddr
	if d.dnsAddr != "" {
		path, text = "addresses.dns", d.dnsAddr
	}
	if d.dnsPort > 65535 || d.dnsPort < -1 {
		d.faultIn("ports.dns", "ports.dns: invalid port: %d", d.dnsPort)
		return
	}
	resolved, err := resolve(text)
	if err != nil || d.dnsPort < 1 {
		if err != nil && path == "addresses.dns" { // client_addr has had its fault
			d.faultIn(path, "%s: %w", path, err)
		}
		return
	}
	for word := range strings.FieldsSeq(resolved) {
		if strings.HasPrefix(word, "unix://") {
			if path == "addresses.dns" {
				d.faultIn(path, "%s cannot be a unix socket", path)
			}
			continue
		}
		ip, err := parseIP(word)
		if err != nil {
			if path == "addresses.dns" {
				d.faultIn(path, "%s: %w", path, err)
			}
			continue
		}
		if l := net.JoinHostPort(ip, strconv.Itoa(d.dnsPort)); !slices.Contains(d.DNS.Listen, l) {
			d.DNS.Listen = append(d.DNS.Listen, l)
		}
	}
}
