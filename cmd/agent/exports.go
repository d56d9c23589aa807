package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	consul "github.com/hashicorp/consul/api"
	"github.com/urfave/cli/v2"
)

// exportsName is the one name that an entry of kind exported-services may have.
const exportsName = "default"

func servicesExport() *cli.Command {
	return &cli.Command{
		Name:  "export",
		Usage: "Lets other clusters use a service",
		Description: `Adds consumers of a service to the config entry of kind exported-services.

    $ muster services export -name=web -consumer-peers=other,third`,
		Flags: append(clientFlags(),
			&cli.StringFlag{Name: "name", Usage: "name of the service, * for all"},
			&cli.StringFlag{Name: "consumer-peers", Usage: "clusters that may use it, separated by commas"},
			&cli.StringFlag{Name: "consumer-partitions", Usage: "admin partitions that may use it, separated by commas; kept, but they are Consul Enterprise's"}),
		Action: exportService,
	}
}

func exportService(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	name, peers, partitions := c.String("name"), c.String("consumer-peers"), c.String("consumer-partitions")
	switch {
	case name == "":
		return failure("Missing the required -name flag")
	case peers == "" && partitions == "":
		return failure("Missing the required -consumer-peers or -consumer-partitions flag")
	}
	var consumers []consul.ServiceConsumer
	var to []string
	if peers != "" {
		for peer := range strings.SplitSeq(peers, ",") {
			if peer = strings.TrimSpace(peer); peer == "" {
				return failure("Invalid peer %q", peer)
			}
			consumers = append(consumers, consul.ServiceConsumer{Peer: peer})
		}
		to = append(to, fmt.Sprintf("cluster peers %q", peers))
	}
	if partitions != "" {
		for partition := range strings.SplitSeq(partitions, ",") {
			if partition = strings.TrimSpace(partition); partition == "" {
				return failure("Invalid partition %q", partition)
			}
			consumers = append(consumers, consul.ServiceConsumer{Partition: partition})
		}
		to = append(to, fmt.Sprintf("partitions %q", partitions))
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	if err := addConsumers(client.ConfigEntries(), name, consumers); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "Successfully exported service %q to %s\n", name, strings.Join(to, " and to "))
	return nil
}

// addConsumers adds those of a service that the entry doesn't have yet. The entry is
// written only if it is still what was read.
func addConsumers(entries *consul.ConfigEntries, name string, consumers []consul.ServiceConsumer) error {
	exports := &consul.ExportedServicesConfigEntry{Name: exportsName}
	found, _, err := entries.Get(consul.ExportedServices, exportsName, nil)
	var status consul.StatusError
	switch {
	case err == nil:
		exports = found.(*consul.ExportedServicesConfigEntry)
	case !errors.As(err, &status) || status.Code != http.StatusNotFound:
		return failure("Error reading config entry %s/%s: %v", consul.ExportedServices, exportsName, err)
	}
	at := slices.IndexFunc(exports.Services, func(s consul.ExportedService) bool { return s.Name == name })
	if at < 0 {
		at = len(exports.Services)
		exports.Services = append(exports.Services, consul.ExportedService{Name: name})
	}
	service := &exports.Services[at]
	for _, one := range consumers {
		if !slices.Contains(service.Consumers, one) {
			service.Consumers = append(service.Consumers, one)
		}
	}
	written, _, err := entries.CAS(exports, exports.ModifyIndex, nil)
	switch {
	case err != nil:
		return failure("Error writing config entry %s/%s: %v", consul.ExportedServices, exportsName, err)
	case !written:
		return failure("Config entry not updated: %s/%s was changed by another; try again", consul.ExportedServices, exportsName)
	}
	return nil
}

func servicesExported() *cli.Command {
	return &cli.Command{
		Name:  "exported-services",
		Usage: "Lists the services that other clusters may use",
		Description: `Lists the services that other clusters may use, and which clusters; * stands for all services that are there.

    $ muster services exported-services`,
		Flags: append(queryFlags(),
			&cli.StringFlag{Name: "filter", Usage: "expression that services must match, such as Service==web"},
			&cli.StringFlag{Name: "format", Value: "pretty", Usage: "pretty or json; default is pretty"}),
		Action: listExported,
	}
}

func listExported(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	format := c.String("format")
	if format != "pretty" && format != "json" {
		return failure("Invalid format, valid formats are {pretty|json}")
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	services, _, err := client.ExportedServices(queryOptions(c))
	switch {
	case err != nil:
		return failure("Error reading exported services: %v", err)
	case len(services) == 0:
		fmt.Fprintln(c.App.Writer, "No exported services found")
		return nil
	case format == "json":
		text, err := json.MarshalIndent(services, "", "    ")
		if err != nil {
			return failure("Failed to encode output data: %v", err)
		}
		fmt.Fprintln(c.App.Writer, string(text))
		return nil
	}
	rows := [][]string{{"Service", "Consumer Peers"}}
	for _, s := range services {
		rows = append(rows, []string{s.Service, strings.Join(s.Consumers.Peers, ", ")})
	}
	fmt.Fprintln(c.App.Writer, table(rows))
	return nil
}
