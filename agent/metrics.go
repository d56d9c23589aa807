package agent

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"muster/catalog/state"
)

// catalogMetrics counts what is in a server's copy of the catalog when asked.
type catalogMetrics struct {
	store                                       *state.Store
	nodes, services, instances, checks, rootEnd *prometheus.Desc
}

func newCatalogMetrics(s *state.Store) *catalogMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("muster_catalog_"+name, help, labels, nil)
	}
	return &catalogMetrics{
		store:     s,
		nodes:     desc("nodes", "Nodes in this server's copy of the catalog."),
		services:  desc("services", "Distinct service names in the catalog."),
		instances: desc("service_instances", "Service instances in the catalog."),
		checks:    desc("checks", "Checks in the catalog, by status.", "status"),
		rootEnd:   prometheus.NewDesc("muster_ca_root_not_after_timestamp_seconds", "When the root certificate that signs ends, in Unix seconds.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (m *catalogMetrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.nodes, m.services, m.instances, m.checks, m.rootEnd} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *catalogMetrics) Collect(ch chan<- prometheus.Metric) {
	c := m.store.View().Counts()
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	gauge(m.nodes, c.Nodes)
	gauge(m.services, c.Services)
	gauge(m.instances, c.Instances)
	for status, n := range c.Checks {
		gauge(m.checks, n, status)
	}
	if a := m.store.View().CA(); a != nil {
		ch <- prometheus.MustNewConstMetric(m.rootEnd, prometheus.GaugeValue, float64(a.Active().NotAfter))
	}
}

// registerProcessMetrics adds the figures of the Go runtime and the process.
func registerProcessMetrics(r *prometheus.Registry) error {
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}
