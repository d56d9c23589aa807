package main

import (
	"encoding/json"
	"fmt"
	"os"

	consul "github.com/hashicorp/consul/api"
	"github.com/urfave/cli/v2"
)

func connectCommand() *cli.Command {
	return &cli.Command{
		Name:        "connect",
		Usage:       "Reads and changes the service mesh",
		Description: "Reads and changes what services trust each other by.",
		Subcommands: []*cli.Command{{
			Name:  "ca",
			Usage: "Reads and changes the certificate authority",
			Description: `Reads and changes the settings of the certificate authority, from which services have their identity.

    $ muster connect ca get-config
    $ muster connect ca set-config -config-file ca.json`,
			Subcommands: []*cli.Command{{
				Name:        "get-config",
				Usage:       "Prints the settings of the certificate authority",
				Description: "Prints the settings of the certificate authority as JSON, which set-config takes.",
				Flags:       queryFlags(),
				Action:      getCA,
			}, {
				Name:        "set-config",
				Usage:       "Changes the settings of the certificate authority",
				Description: "Changes the settings of the certificate authority to those of a JSON file. Another key, or type or size of it, brings a new root, which the old one vouches for.",
				Flags: append(datacenterFlags(),
					&cli.StringFlag{Name: "config-file", Usage: "file with the settings"},
					&cli.BoolFlag{Name: "force-without-cross-signing", Usage: "the old root doesn't vouch for a new one: until they have that, programs distrust the leaves of it"},
				),
				Action: setCA,
			}},
		}},
	}
}

func getCA(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	settings, _, err := client.Connect().CAGetConfig(queryOptions(c))
	if err != nil {
		return failure("Error querying CA configuration: %v", err)
	}
	text, err := json.MarshalIndent(settings, "", "\t")
	if err != nil {
		return failure("Error formatting CA configuration: %v", err)
	}
	fmt.Fprintln(c.App.Writer, string(text))
	return nil
}

func setCA(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	file := c.String("config-file")
	if file == "" {
		return failure("The -config-file flag is required")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return failure("Error reading config file: %v", err)
	}
	var settings consul.CAConfig
	if err := json.Unmarshal(text, &settings); err != nil {
		return failure("Error parsing config file: %v", err)
	}
	if c.IsSet("force-without-cross-signing") {
		settings.ForceWithoutCrossSigning = c.Bool("force-without-cross-signing")
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	if _, err := client.Connect().CASetConfig(&settings, nil); err != nil {
		return failure("Error setting CA configuration: %v", err)
	}
	fmt.Fprintln(c.App.Writer, "Configuration updated!")
	return nil
}
