package ca

import (
	"net/url"
	"strings"
)

// ServiceURI is the name of a service in a trust domain and datacenter.
func ServiceURI(trustDomain, datacenter, service string) *url.URL {
	return &url.URL{Scheme: "spiffe", Host: trustDomain, Path: "/ns/default/dc/" + datacenter + "/svc/" + service}
}

// ServiceID says which service a URI names.
type ServiceID struct{ TrustDomain, Datacenter, Service string }

// The answers to a URI that names no service, in Consul's words.
var (
	errNoID      = invalid("ClientCertURI not a valid Connect identifier")
	errNoService = invalid("ClientCertURI not a valid Service identifier")
)

// ParseURI reads what ServiceURI makes.
func ParseURI(text string) (ServiceID, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "spiffe" || u.Host == "" {
		return ServiceID{}, errNoID
	}
	return parseURL(u)
}

// parseURL splits the path as it is escaped: a name may hold what would part it.
func parseURL(u *url.URL) (ServiceID, error) {
	parts := strings.Split(u.EscapedPath(), "/")
	if len(parts) != 7 || parts[0] != "" || parts[1] != "ns" || parts[3] != "dc" || parts[5] != "svc" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return ServiceID{}, errNoService
	}
	namespace, err1 := url.PathUnescape(parts[2])
	datacenter, err2 := url.PathUnescape(parts[4])
	service, err3 := url.PathUnescape(parts[6])
	if err1 != nil || err2 != nil || err3 != nil || namespace != "default" || datacenter == "" || service == "" {
		return ServiceID{}, errNoService
	}
	return ServiceID{strings.ToLower(u.Host), datacenter, service}, nil
}
