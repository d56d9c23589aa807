package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	consul "github.com/hashicorp/consul/api"
	"github.com/urfave/cli/v2"
)

func usageCommand() *cli.Command {
	return &cli.Command{
		Name:        "usage",
		Usage:       "Counts what is in use",
		Description: "Counts what a cluster holds.",
		Subcommands: []*cli.Command{{
			Name:  "instances",
			Usage: "Counts services and their instances",
			Description: `Counts nodes, services and instances. Billable is Consul's word for those that are neither proxies nor gateways, nor the servers themselves.

    $ muster operator usage instances
    $ muster operator usage instances -connect`,
			Flags: append(queryFlags(),
				&cli.BoolFlag{Name: "all-datacenters", Usage: "a line for each datacenter, and a total"},
				&cli.BoolFlag{Name: "billable", Usage: "only billable instances and nodes"},
				&cli.BoolFlag{Name: "connect", Usage: "only instances of the mesh: proxies, gateways and native ones"}),
			Action: showUsage,
		}},
	}
}

func showUsage(c *cli.Context) error {
	if err := noArgs(c); err != nil {
		return err
	}
	billable, connect := c.Bool("billable"), c.Bool("connect")
	if billable && connect {
		return failure("Cannot specify both -billable and -connect flags")
	}
	client, err := newClient(c)
	if err != nil {
		return err
	}
	opts := queryOptions(c)
	opts.Global = c.Bool("all-datacenters")
	answer, _, err := client.Operator().Usage(opts)
	if err != nil {
		return failure("Error fetching usage information: %v", err)
	}
	u := usageReport{c.App.Writer, answer.Usage, slices.Sorted(maps.Keys(answer.Usage)), c.Bool("all-datacenters")}
	if !connect {
		u.billable()
		u.nodes()
	}
	if !billable {
		u.connect()
	}
	return nil
}

// usageReport prints figures of datacenters, and their totals where each has a line of
// its own.
type usageReport struct {
	to          io.Writer
	by          map[string]consul.ServiceUsage
	datacenters []string // sorted
	each        bool
}

// total adds up a figure over all datacenters.
func (u usageReport) total(figure func(consul.ServiceUsage) int) int {
	n := 0
	for _, s := range u.by {
		n += figure(s)
	}
	return n
}

// table prints a heading and rows, whose columns are parted by tabs.
func (u usageReport) table(heading string, rows ...string) {
	fmt.Fprintln(u.to, heading)
	w := tabwriter.NewWriter(u.to, 0, 2, 6, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, r)
	}
	_ = w.Flush()
}

func (u usageReport) billable() {
	instances := func(s consul.ServiceUsage) int { return s.BillableServiceInstances }
	services := func(s consul.ServiceUsage) int { return s.Services }
	fmt.Fprintf(u.to, "Billable Service Instances Total: %d\n", u.total(instances))
	for _, dc := range u.datacenters {
		fmt.Fprintf(u.to, "%s Billable Service Instances: %d\n", dc, instances(u.by[dc]))
	}
	fmt.Fprintln(u.to)
	rows := []string{"Services\tService instances"}
	if u.each {
		rows[0] = "Datacenter\t" + rows[0]
	}
	for _, dc := range u.datacenters {
		row := fmt.Sprintf("%d\t%d", services(u.by[dc]), instances(u.by[dc]))
		if u.each {
			row = dc + "\t" + row
		}
		rows = append(rows, row)
	}
	if u.each {
		rows = append(rows, "\t\t", fmt.Sprintf("Total\t%d\t%d", u.total(services), u.total(instances)))
	}
	u.table("Billable Services", rows...)
	fmt.Fprint(u.to, "\n\n")
}

func (u usageReport) nodes() {
	rows := []string{"Datacenter\tCount\t\t"}
	for _, dc := range u.datacenters {
		rows = append(rows, fmt.Sprintf("%s\t%d", dc, u.by[dc].Nodes))
	}
	rows = append(rows, "\t", fmt.Sprintf("Total\t%d", u.total(func(s consul.ServiceUsage) int { return s.Nodes })))
	u.table("Nodes", rows...)
	fmt.Fprint(u.to, "\n\n")
}

func (u usageReport) connect() {
	rows := []string{"Type\tService instances"}
	if u.each {
		rows[0] = "Datacenter\t" + rows[0]
	}
	sum := 0
	for _, dc := range u.datacenters {
		counts := u.by[dc].ConnectServiceInstances
		for _, kind := range slices.Sorted(maps.Keys(counts)) {
			row := fmt.Sprintf("%s\t%d", kind, counts[kind])
			if u.each {
				row = dc + "\t" + row
			}
			rows = append(rows, row)
			sum += counts[kind]
		}
	}
	if u.each {
		rows = append(rows, "\t\t", fmt.Sprintf("Total\t\t%d", sum))
	}
	u.table("Connect Services", rows...)
}
