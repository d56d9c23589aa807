// Package clients runs programs that people use with Consul, unmodified, against
// real Muster agents: consul-template, Prometheus' service discovery, and the
// watches of Consul's Go client. It is a module of its own, so that what those
// programs depend on stays out of Muster's.
package clients
