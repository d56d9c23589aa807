package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"muster/agent"
	"muster/agent/config"
)

func agentCommand() *cli.Command {
	given := &settings{}
	return &cli.Command{
		Name:  "agent",
		Usage: "Runs a Muster agent",
		Description: `Starts the agent and runs until it is interrupted. An agent is one node of a cluster, in server or in client mode.

To try it out, with everything in memory:

    $ muster agent -dev

One of three servers, and a client agent:

    $ muster agent -server -bootstrap-expect=3 -data-dir=/var/lib/muster -retry-join=10.0.0.1
    $ muster agent -data-dir=/var/lib/muster -retry-join=10.0.0.1

Flags win over files; -hcl wins over both. SIGHUP reads the files again.`,
		Flags:  given.flags(),
		Action: func(c *cli.Context) error { return runAgent(c, given) },
	}
}

// settings collects the flags of `agent` in the order they were given, which
// matters between -config-file and -config-dir.
type settings struct {
	source config.Source
	format string
}

// load reads what the flags say, and the files they name, anew.
func (s *settings) load() (*config.Config, []string, error) {
	if s.format != "" && s.format != "hcl" && s.format != "json" {
		return nil, nil, errors.New("-config-format must be either 'hcl' or 'json'")
	}
	source := s.source
	source.Inputs = make([]config.Input, len(s.source.Inputs))
	for i, in := range s.source.Inputs {
		source.Inputs[i] = config.Input{Path: in.Path, Format: s.format}
	}
	return config.Load(source)
}

func (s *settings) flags() []cli.Flag {
	input := func(path string) error {
		s.source.Inputs = append(s.source.Inputs, config.Input{Path: path})
		return nil
	}
	flags := []cli.Flag{
		&settingFlag{name: "config-file", usage: "file of configuration, JSON where its name ends in .json, else HCL; may be repeated", set: input},
		&settingFlag{name: "config-dir", usage: "directory of which all .hcl and .json files are read, in the order of their names; may be repeated", set: input},
		&settingFlag{name: "config-format", usage: "format of the files whatever their names: hcl or json", set: func(v string) error {
			s.format = v
			return nil
		}},
		&settingFlag{name: "hcl", usage: "a piece of configuration in HCL; may be repeated", set: func(v string) error {
			s.source.HCL = append(s.source.HCL, v)
			return nil
		}},
		&settingFlag{name: "dev", bool: true, usage: "development mode: a server of one with its UI, everything in memory", set: func(v string) (err error) {
			s.source.Dev, err = strconv.ParseBool(v)
			return err
		}},
	}
	for _, k := range config.Flags() {
		usage := k.Doc
		if k.Status != config.Here {
			usage = "no effect: " + k.Doc
		}
		flags = append(flags, &settingFlag{name: k.Flag, usage: usage, bool: k.Type == config.Bool, set: func(v string) error {
			s.source.Flags = append(s.source.Flags, config.FlagValue{Name: k.Flag, Value: v})
			return nil
		}})
	}
	return flags
}

// settingFlag is a flag that only notes what it is given; config judges it. It
// implements cli.Flag and cli.DocGenerationFlag.
type settingFlag struct {
	name, usage string
	bool        bool
	set         func(string) error
	given       bool
}

func (f *settingFlag) Apply(set *flag.FlagSet) error {
	note := func(v string) error {
		f.given = true
		return f.set(v)
	}
	if f.bool {
		set.BoolFunc(f.name, f.usage, note)
	} else {
		set.Func(f.name, f.usage, note)
	}
	return nil
}

func (f *settingFlag) Names() []string        { return []string{f.name} }
func (f *settingFlag) IsSet() bool            { return f.given }
func (f *settingFlag) String() string         { return "-" + f.name }
func (f *settingFlag) TakesValue() bool       { return !f.bool }
func (f *settingFlag) GetUsage() string       { return f.usage }
func (f *settingFlag) GetValue() string       { return "" }
func (f *settingFlag) GetDefaultText() string { return "" }
func (f *settingFlag) GetEnvVars() []string   { return nil }

// runAgent runs an agent until it has ended.
func runAgent(c *cli.Context, given *settings) (err error) {
	if c.NArg() > 0 {
		return fmt.Errorf("==> Unexpected extra arguments: %v", c.Args().Slice())
	}
	cfg, warnings, err := given.load()
	if err != nil {
		return refusal(err)
	}
	logs, err := openLog(c.App.Writer, cfg.Log)
	if err != nil {
		return refusal(err)
	}
	defer func() { err = errors.Join(err, logs.close()) }()

	defer collectGarbage()()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	signal.Ignore(syscall.SIGPIPE) // whoever read our output may go; we stay

	printBanner(c.App.Writer, cfg)
	reload := func() (*config.Config, error) {
		cfg, warnings, err := given.load()
		for _, w := range warnings {
			logs.logger.Warn("configuration: " + w)
		}
		return cfg, err
	}
	a, err := agent.New(cfg, agent.Options{Logger: logs.logger, Load: reload, Monitor: logs.watch})
	if err != nil {
		return refusal(err)
	}
	remove, err := writePID(cfg.PIDFile)
	if err != nil {
		return refusal(err)
	}
	defer remove()
	for _, w := range warnings {
		logs.logger.Warn("configuration: " + w)
	}
	s := supervisor{agent: a, cfg: cfg, load: reload, signals: signals, logger: logs.logger.With("component", "agent")}
	return s.run(c.Context)
}

// refusal says why an agent didn't start.
func refusal(err error) error {
	var b strings.Builder
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(&b, "==> %s\n", line)
	}
	return cli.Exit(b.String(), exitFailed)
}

// writePID writes the agent's process ID; "" writes none. remove takes the file
// away.
func writePID(path string) (remove func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
		return nil, fmt.Errorf("write the PID file: %w", err)
	}
	return func() { _ = os.Remove(path) }, nil
}

// printBanner says what has been started and where to reach it.
func printBanner(w io.Writer, cfg *config.Config) {
	addrs := make([]string, len(cfg.HTTP))
	for i, l := range cfg.HTTP {
		addrs[i] = l.String()
	}
	role := "client"
	if cfg.Server {
		role = fmt.Sprintf("server (expects %d)", cfg.BootstrapExpect)
	}
	fmt.Fprintln(w, "==> Starting Muster agent...")
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%19s: %s\n", name, fmt.Sprintf(format, args...))
	}
	line("Version", "%s (API of Consul %s)", config.Version, config.CompatVersion)
	line("Node name", "%s", cfg.NodeName)
	line("Datacenter", "%s", cfg.Datacenter)
	line("Mode", "%s", role)
	line("HTTP", "%s", orNone(strings.Join(addrs, " ")))
	line("Gossip", "%s, port %d, encrypted: %v", cfg.AdvertiseAddr, cfg.SerfLANPort, cfg.Encrypt != "")
	if cfg.Server {
		line("Cluster", "%s, port %d", cfg.AdvertiseAddr, cfg.ServerPort)
	}
	line("Data", "%s", orNone(cfg.DataDir))
	if cfg.Dev && len(cfg.HTTP) > 0 && cfg.HTTP[0].Network == "tcp" {
		url := "http://" + cfg.HTTP[0].Address
		fmt.Fprintf(w, `
==> Development mode: everything is in memory and gone at the end. Try
    open %[1]s/ui/
    curl -X PUT %[1]s/v1/agent/service/register -d '{"Name":"web","Port":8080}'
    curl '%[1]s/v1/health/service/web?pretty'
`, url)
	}
	fmt.Fprint(w, "\n==> Log data will now stream in as it occurs:\n\n")
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
