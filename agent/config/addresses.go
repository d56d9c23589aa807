package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	sockaddr "github.com/hashicorp/go-sockaddr"
	"github.com/hashicorp/go-sockaddr/template"
)

// finishAddresses turns what was said about addresses into IPs and ports.
func (d *draft) finishAddresses() {
	d.BindAddr = d.oneIP("bind_addr", d.BindAddr)
	d.SerfBindAddr = d.oneIP("serf_lan", d.SerfBindAddr)
	if d.SerfBindAddr == "" {
		d.SerfBindAddr = d.BindAddr
	}
	d.SerfWANBindAddr = d.oneIP("serf_wan", d.SerfWANBindAddr)
	if d.SerfWANBindAddr == "" {
		d.SerfWANBindAddr = d.BindAddr
	}
	if d.AdvertiseAddr = d.oneIP("advertise_addr", d.AdvertiseAddr); d.AdvertiseAddr == "" && d.BindAddr != "" {
		d.AdvertiseAddr = d.BindAddr
		if unspecified(d.BindAddr) {
			addr, err := machineAddr(d.BindAddr)
			if err != nil {
				d.faultIn("advertise_addr", "%w", err)
			}
			d.AdvertiseAddr = addr
		}
	}
	if d.AdvertiseAddrWAN = d.oneIP("advertise_addr_wan", d.AdvertiseAddrWAN); d.AdvertiseAddrWAN == "" {
		d.AdvertiseAddrWAN = d.AdvertiseAddr
	}
	for path, addr := range map[string]string{"advertise_addr": d.AdvertiseAddr, "advertise_addr_wan": d.AdvertiseAddrWAN} {
		if unspecified(addr) && d.given(path) {
			d.faultIn(path, "%s cannot be 0.0.0.0, :: or [::]; give an address at which others reach this agent", path)
		}
	}
	d.checkPort("ports.server", d.ServerPort)
	d.checkPort("ports.serf_lan", d.SerfLANPort)
	if d.ServerPort == d.SerfLANPort && d.Server && d.BindAddr == d.SerfBindAddr {
		d.faultIn("ports.server", "ports.server and ports.serf_lan are both %d; give each its own", d.ServerPort)
	}
	d.AllowedLAN = d.networks("serf_lan_allowed_cidrs", d.allowedLAN)
	d.AllowedWAN = d.networks("serf_wan_allowed_cidrs", d.allowedWAN)
	d.finishWANPort()
	d.finishHTTPAddrs()
}

// finishWANPort checks the port of the WAN pool, which can be off.
func (d *draft) finishWANPort() {
	if d.SerfWANPort == -1 {
		d.SerfWANPort = 0
		return
	}
	d.checkPort("ports.serf_wan", d.SerfWANPort)
	for path, port := range map[string]int{"ports.serf_lan": d.SerfLANPort, "ports.server": d.ServerPort} {
		if d.Server && port == d.SerfWANPort {
			d.faultIn("ports.serf_wan", "%s and ports.serf_wan are both %d; give each its own, or -1 for no WAN pool", path, port)
		}
	}
}

func (d *draft) checkPort(path string, port int) {
	if port < 1 || port > 65535 {
		d.faultIn(path, "%s cannot be %d; it must be between 1 and 65535", path, port)
	}
}

// finishHTTPAddrs lists where the API is served.
func (d *draft) finishHTTPAddrs() {
	path, text := "client_addr", d.clientAddr
	if d.httpAddr != "" {
		path, text = "addresses.http", d.httpAddr
	}
	if d.httpPort > 65535 || d.httpPort < -1 {
		d.faultIn("ports.http", "ports.http: invalid port: %d", d.httpPort)
		return
	}
	resolved, err := resolve(text)
	if err != nil {
		d.faultIn(path, "%s: %w", path, err)
		return
	}
	seen := map[Listener]bool{}
	for word := range strings.FieldsSeq(resolved) {
		l := Listener{Network: "tcp"}
		if file, ok := strings.CutPrefix(word, "unix://"); ok {
			l = Listener{Network: "unix", Address: file}
		} else if ip, err := parseIP(word); err != nil {
			d.faultIn(path, "%s: %w", path, err)
			continue
		} else {
			l.Address = net.JoinHostPort(ip, strconv.Itoa(d.httpPort))
		}
		if off := d.httpPort < 1 && l.Network == "tcp"; !off && !seen[l] {
			seen[l] = true
			d.HTTP = append(d.HTTP, l)
		}
	}
	if strings.TrimSpace(resolved) == "" {
		d.faultIn(path, "%s %q gives no address", path, text)
	}
}

// oneIP resolves an address that must be a single IP; "" stays.
func (d *draft) oneIP(path, text string) string {
	resolved, err := resolve(text)
	if err != nil {
		d.faultIn(path, "%s: %w", path, err)
		return ""
	}
	words := strings.Fields(resolved)
	switch {
	case len(words) == 0 && (text != "" || path == "bind_addr"):
		d.faultIn(path, "%s cannot be empty%s", path, fromTemplate(text))
		return ""
	case len(words) == 0:
		return ""
	case len(words) > 1:
		d.faultIn(path, "%s cannot contain multiple addresses: %s", path, resolved)
		return ""
	case strings.HasPrefix(words[0], "unix://"):
		d.faultIn(path, "%s cannot be a unix socket", path)
		return ""
	}
	ip, err := parseIP(words[0])
	if err != nil {
		d.faultIn(path, "%s: %w", path, err)
	}
	return ip
}

func fromTemplate(text string) string {
	if !strings.Contains(text, "{{") {
		return ""
	}
	return fmt.Sprintf("; on this machine the template %s gives nothing", text)
}

func parseIP(text string) (string, error) {
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return "", fmt.Errorf("invalid ip address: %s; give an IP address or a go-sockaddr template", text)
	}
	return addr.Unmap().String(), nil
}

// resolve evaluates the go-sockaddr templates of an address.
func resolve(text string) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	resolved, err := template.Parse(text)
	if err != nil {
		return "", fmt.Errorf("template %q: %w", text, err)
	}
	return resolved, nil
}

func unspecified(addr string) bool {
	ip, err := netip.ParseAddr(addr)
	return err == nil && ip.IsUnspecified()
}

// machineAddr chooses the address at which others reach an agent that is bound
// to all addresses: this machine's only private one; of several the one that the
// default route uses; a public one where there is none. For "::" it looks for
// IPv6.
func machineAddr(bind string) (string, error) {
	ip6 := false
	if ip, err := netip.ParseAddr(bind); err == nil {
		ip6 = ip.Is6()
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("list this machine's addresses: %w", err)
	}
	var private, public []string
	for _, a := range all {
		network, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		ip, ok := netip.AddrFromSlice(network.IP)
		if ip = ip.Unmap(); !ok || ip.Is6() != ip6 || !ip.IsGlobalUnicast() {
			continue
		}
		if ip.IsPrivate() {
			private = append(private, ip.String())
		} else {
			public = append(public, ip.String())
		}
	}
	switch preferred, _ := sockaddr.GetPrivateIP(); {
	case len(private) == 1:
		return private[0], nil
	case len(private) > 1:
		for _, p := range private {
			if p == preferred {
				return p, nil
			}
		}
		return "", fmt.Errorf("multiple private addresses found (%s). Please configure one with 'bind' and/or 'advertise'", strings.Join(private, ", "))
	case len(public) == 1:
		return public[0], nil
	default:
		return "", errors.New("no address found by which other agents could reach this one; give one with 'bind' and/or 'advertise'")
	}
}
