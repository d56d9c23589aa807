package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// Files and the defaults of flags, Consul's.
const (
	caDays     = 1825 // five years
	certDays   = 365
	caName     = "Consul Agent CA"
	domainMark = "#DOMAIN#" // stands for -domain in a path
)

func tlsCommand() *cli.Command {
	return &cli.Command{
		Name:  "tls",
		Usage: "Makes certificate authorities and certificates for agents",
		Description: `Makes the files that agents need to know each other by: a certificate authority, and certificates that it signs. They have the names and the form that Consul's have. Agents of Muster speak plain text among themselves so far, so the files are for what stands before them, and for agents of Consul. The authority that services get certificates from is another: see muster connect ca.

    $ muster tls ca create
    $ muster tls cert create -server
    $ muster tls cert create -client`,
		Subcommands: []*cli.Command{{
			Name:        "ca",
			Usage:       "Makes a certificate authority",
			Description: "Makes a certificate authority.",
			Subcommands: []*cli.Command{tlsCACreate()},
		}, {
			Name:        "cert",
			Usage:       "Makes certificates",
			Description: "Makes certificates that a certificate authority signs.",
			Subcommands: []*cli.Command{tlsCertCreate()},
		}},
	}
}

func tlsCACreate() *cli.Command {
	return &cli.Command{
		Name:  "create",
		Usage: "Makes a certificate authority",
		Description: `Makes a certificate authority: DOMAIN-agent-ca.pem and its key, DOMAIN-agent-ca-key.pem, in this directory. Files that are there already stay, and it fails.

    $ muster tls ca create
    ==> Saved consul-agent-ca.pem
    ==> Saved consul-agent-ca-key.pem`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "additional-name-constraint", Usage: "a further domain for -name-constraint; may be repeated"},
			&cli.StringFlag{Name: "cluster-id", Usage: "ID of the cluster, which makes the authority's URI spiffe://ID.DOMAIN"},
			&cli.StringFlag{Name: "common-name", Value: caName, Usage: "common name of the authority; default is Consul Agent CA with its serial number"},
			&cli.IntFlag{Name: "days", Value: caDays, Usage: "for how many days it is valid; default is 1825"},
			&cli.StringFlag{Name: "domain", Value: "consul", Usage: "domain of the cluster; default is consul"},
			&cli.BoolFlag{Name: "name-constraint", Usage: "let the authority sign only for localhost, -domain, and each -additional-name-constraint"},
		},
		Action: createCA,
	}
}

func createCA(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	if err := validDays(c); err != nil {
		return err
	}
	domain := c.String("domain")
	certFile, keyFile := domain+"-agent-ca.pem", domain+"-agent-ca-key.pem"
	if err := absent(certFile, keyFile); err != nil {
		return err
	}
	request := authorityRequest{commonName: c.String("common-name"), days: c.Int("days"), clusterID: c.String("cluster-id"), domain: domain}
	if c.Bool("name-constraint") {
		request.domains = append(c.StringSlice("additional-name-constraint"), domain, "localhost")
	}
	made, err := newAuthority(request, time.Now())
	if err != nil {
		return failure("Error generating CA: %v", err)
	}
	return made.save(c.App.Writer, certFile, keyFile)
}

func tlsCertCreate() *cli.Command {
	return &cli.Command{
		Name:  "create",
		Usage: "Makes a certificate",
		Description: `Makes a certificate and its key, signed by the authority of muster tls ca create: DC-server-DOMAIN-N.pem and DC-server-DOMAIN-N-key.pem, or with client or cli for server. N is the first number that is free.

    $ muster tls cert create -server
    ==> Using consul-agent-ca.pem and consul-agent-ca-key.pem
    ==> Saved dc1-server-consul-0.pem
    ==> Saved dc1-server-consul-0-key.pem`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "additional-dnsname", Usage: "a further DNS name of the certificate, beside localhost; may be repeated"},
			&cli.StringSliceFlag{Name: "additional-ipaddress", Usage: "a further IP address of the certificate, beside 127.0.0.1; may be repeated"},
			&cli.StringFlag{Name: "ca", Value: domainMark + "-agent-ca.pem", Usage: "file of the authority's certificate; default is DOMAIN-agent-ca.pem"},
			&cli.BoolFlag{Name: "cli", Usage: "a certificate for the command line"},
			&cli.BoolFlag{Name: "client", Usage: "a certificate for a client agent"},
			&cli.IntFlag{Name: "days", Value: certDays, Usage: "for how many days it is valid; default is 365"},
			&cli.StringFlag{Name: "dc", Value: "dc1", Usage: "datacenter; default is dc1"},
			&cli.StringFlag{Name: "domain", Value: "consul", Usage: "domain of the cluster; default is consul"},
			&cli.StringFlag{Name: "key", Value: domainMark + "-agent-ca-key.pem", Usage: "file of the authority's key; default is DOMAIN-agent-ca-key.pem"},
			&cli.StringFlag{Name: "node", Usage: "with -server: name of the node, for the DNS name NODE.server.DC.DOMAIN"},
			&cli.BoolFlag{Name: "server", Usage: "a certificate for a server"},
		},
		Action: createCert,
	}
}

// serverWarning is what Consul says where a certificate makes a server.
const serverWarning = `==> WARNING: Server Certificates grants authority to become a
    server and access all state in the cluster including root keys
    and all ACL tokens. Do not distribute them to production hosts
    that are not server nodes. Store them as securely as CA keys.
`

func createCert(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	role, err := roleOf(c)
	if err != nil {
		return err
	}
	if err := validDays(c); err != nil {
		return err
	}
	request, err := certRequest(c, role)
	if err != nil {
		return err
	}
	domain := c.String("domain")
	caFile := strings.Replace(c.String("ca"), domainMark, domain, 1)
	caKeyFile := strings.Replace(c.String("key"), domainMark, domain, 1)
	caPEM, err := os.ReadFile(caFile)
	if err != nil {
		return failure("Error reading CA: %v", err)
	}
	caKeyPEM, err := os.ReadFile(caKeyFile)
	if err != nil {
		return failure("Error reading CA key: %v", err)
	}
	if role == roleServer {
		fmt.Fprint(c.App.Writer, serverWarning)
	}
	fmt.Fprintf(c.App.Writer, "==> Using %s and %s\n", caFile, caKeyFile)
	made, err := request.signedBy(caPEM, caKeyPEM, time.Now())
	if err != nil {
		return failure("Error creating the certificate with %s and %s: %v", caFile, caKeyFile, err)
	}
	for n := 0; ; n++ {
		prefix := fmt.Sprintf("%s-%s-%s-%d", c.String("dc"), role, domain, n)
		if absent(prefix+".pem", prefix+"-key.pem") == nil {
			return made.save(c.App.Writer, prefix+".pem", prefix+"-key.pem")
		}
	}
}

// roleOf is what a certificate is for, of which flags must name exactly one.
func roleOf(c *cli.Context) (string, error) {
	role := ""
	for _, r := range []string{roleServer, roleClient, roleCLI} {
		if !c.Bool(r) {
			continue
		}
		if role != "" {
			return "", failure("Please provide either -server, -client, or -cli")
		}
		role = r
	}
	switch {
	case role == "":
		return "", failure("Please provide either -server, -client, or -cli")
	case c.String("node") != "" && role != roleServer:
		return "", failure("-node requires -server")
	}
	return role, nil
}

// certRequest is what flags ask for.
func certRequest(c *cli.Context, role string) (certificateRequest, error) {
	request := certificateRequest{role: role, commonName: fmt.Sprintf("%s.%s.%s", role, c.String("dc"), c.String("domain")), days: c.Int("days")}
	for _, name := range c.StringSlice("additional-dnsname") {
		if name != "" {
			request.names = append(request.names, name)
		}
	}
	if node := c.String("node"); node != "" {
		request.names = append(request.names, node+"."+request.commonName)
	}
	request.names = append(request.names, request.commonName, "localhost")
	for _, text := range c.StringSlice("additional-ipaddress") {
		ip := net.ParseIP(text)
		if ip == nil {
			return request, failure("-additional-ipaddress %q is no IP address", text)
		}
		request.addresses = append(request.addresses, ip)
	}
	if role != roleCLI {
		request.addresses = append(request.addresses, net.IPv4(127, 0, 0, 1))
	}
	return request, nil
}

func validDays(c *cli.Context) error {
	if n := c.Int("days"); n <= 0 || n > maxDays {
		return failure("-days must be from 1 to %d, not %d", maxDays, n)
	}
	return nil
}

// absent refuses files that are there.
func absent(names ...string) error {
	for _, name := range names {
		if _, err := os.Lstat(name); err == nil {
			return failure("%s already exists.", name)
		} else if !os.IsNotExist(err) {
			return failure("%v", err)
		}
	}
	return nil
}
