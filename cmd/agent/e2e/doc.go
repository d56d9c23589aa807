// Package e2e starts the real binary, as its users do, and talks to it with
// the official Consul client and plain HTTP. It holds tests only.
//
// Every agent of a test has a loopback address of its own (127.x.y.z, random
// per test run) and Consul's own ports, so that tests read like a deployment
// and runs side by side don't meet. That needs Linux, where the whole of
// 127.0.0.0/8 is local.
package e2e
