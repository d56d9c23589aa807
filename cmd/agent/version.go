package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"muster/agent/config"
)

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:        "version",
		Usage:       "Prints the version",
		Description: "Prints Muster's version, and that of the Consul whose clients it serves. In JSON, Version is Consul's: tools compare it.",
		Flags:       []cli.Flag{&cli.StringFlag{Name: "format", Usage: "pretty or json", Value: "pretty"}},
		Action: func(c *cli.Context) error {
			switch format := c.String("format"); format {
			case "pretty":
				printVersion(c.App.Writer)
				return nil
			case "json":
				return printVersionJSON(c.App.Writer)
			default:
				return failure("Unknown format: %s", format)
			}
		},
	}
}

// The versions of the protocol between agents that members announce.
const (
	protocolDefault = 2
	protocolMin     = 2
	protocolMax     = 3
)

func printVersion(w io.Writer) {
	fmt.Fprintf(w, "Muster v%s\n", config.Version)
	if r := config.Revision(); r != "" {
		fmt.Fprintf(w, "Revision %.8s\n", r)
	}
	fmt.Fprintf(w, "Consul v%s (the API that Muster serves)\n", config.CompatVersion)
}

func printVersionJSON(w io.Writer) error {
	type rpc struct{ Default, Min, Max int }
	e := json.NewEncoder(w)
	e.SetIndent("", "   ")
	return e.Encode(struct {
		Version    string
		Revision   string
		Prerelease string
		Muster     string
		RPC        rpc
	}{config.CompatVersion, config.Revision(), "", config.Version, rpc{protocolDefault, protocolMin, protocolMax}})
}

func validateCommand() *cli.Command {
	return &cli.Command{
		Name:        "validate",
		Usage:       "Checks configuration files",
		ArgsUsage:   "FILE_OR_DIRECTORY...",
		Description: "Reads configuration files and directories as `muster agent` would, and says everything that is wrong with them. Ends with 1 if anything is.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "quiet", Usage: "print nothing where all is well"},
			&cli.StringFlag{Name: "config-format", Usage: "format of the files whatever their names: hcl or json"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return failure("Must specify at least one config file or directory")
			}
			format := c.String("config-format")
			if format != "" && format != "hcl" && format != "json" {
				return errors.New("-config-format must be either 'hcl' or 'json'")
			}
			_, warnings, err := config.Load(config.Source{Inputs: inputs(c.Args().Slice(), format)})
			if err != nil {
				lines := strings.ReplaceAll(err.Error(), "\n", "\n  ")
				return cli.Exit("Config validation failed:\n  "+lines, exitFailed)
			}
			if c.Bool("quiet") {
				return nil
			}
			for _, w := range warnings {
				fmt.Fprintln(c.App.Writer, w)
			}
			fmt.Fprintln(c.App.Writer, "Configuration is valid!")
			return nil
		},
	}
}

func inputs(paths []string, format string) []config.Input {
	var all []config.Input
	for _, p := range paths {
		all = append(all, config.Input{Path: p, Format: format})
	}
	return all
}

func keygenCommand() *cli.Command {
	return &cli.Command{
		Name:        "keygen",
		Usage:       "Makes an encryption key",
		Description: "Prints a random key for -encrypt. All agents of a cluster have the same one.",
		Action: func(c *cli.Context) error {
			key := make([]byte, 32)
			if _, err := rand.Read(key); err != nil {
				return fmt.Errorf("draw a random key: %w", err)
			}
			fmt.Fprintln(c.App.Writer, base64.StdEncoding.EncodeToString(key))
			return nil
		},
	}
}
