// Command agent is Muster's one binary, installed as `muster`: the agent itself,
// and the commands that speak to a running one over its HTTP API.
//
// main is thin: run builds the command tree, runs it, and gives the exit code,
// so that tests run whole commands against a server of theirs. Commands use the
// official Consul client, as users' programs do, and print what Consul's print;
// their exit codes are Consul's too, but that an agent that ends as it was told
// to ends with 0.
//
// `agent` is the one command that runs for long: it reads the configuration,
// makes an agent.Agent, and supervise carries signals to it. A reload reads the
// same files and flags again.
package main
