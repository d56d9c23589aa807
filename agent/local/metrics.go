package local

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"muster/catalog"
)

// metrics are what an agent tells of its services and checks.
type metrics struct {
	syncs    *prometheus.CounterVec // by kind and result
	refusals prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, s *State) (*metrics, error) {
	m := &metrics{
		syncs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "muster_local_syncs_total",
			Help: "Times that this agent brought the catalog in line with its services and checks, by kind (full, partial) and result (ok, refused, error).",
		}, []string{"kind", "result"}),
		refusals: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_local_refusals_total",
			Help: "Registrations of this agent that the catalog would not take.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	if err := errors.Join(reg.Register(m.syncs), reg.Register(m.refusals), reg.Register(newCollector(s))); err != nil {
		return nil, fmt.Errorf("register the metrics of local services: %w", err)
	}
	return m, nil
}

// passed counts one pass of the Syncer.
func (m *metrics) passed(full bool, refusals int, err error) {
	kind, result := "partial", "ok"
	if full {
		kind = "full"
	}
	switch {
	case err != nil:
		result = "error"
	case refusals > 0:
		result = "refused"
	}
	m.syncs.WithLabelValues(kind, result).Inc()
	m.refusals.Add(float64(refusals))
}

// collector counts what a State holds at the time of a scrape.
type collector struct {
	state                     *State
	services, checks, pending *prometheus.Desc
}

func newCollector(s *State) *collector {
	return &collector{
		state:    s,
		services: prometheus.NewDesc("muster_local_services", "Services registered with this agent.", nil, nil),
		checks:   prometheus.NewDesc("muster_local_checks", "Checks registered with this agent, by status.", []string{"status"}, nil),
		pending:  prometheus.NewDesc("muster_local_pending", "Things of this agent that the catalog does not have as they are.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.services
	ch <- c.checks
	ch <- c.pending
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	services, statuses, pending := c.state.counts()
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	gauge(c.services, services)
	for _, status := range []string{catalog.StatusPassing, catalog.StatusWarning, catalog.StatusCritical} {
		gauge(c.checks, statuses[status], status)
	}
	gauge(c.pending, pending)
}

func (s *State) counts() (services int, statuses map[string]int, pending int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	statuses = map[string]int{}
	out := func(m *mark) {
		if !m.inSync() {
			pending++
		}
	}
	for _, svc := range s.services {
		out(&svc.mark)
	}
	for _, c := range s.checks {
		statuses[c.current.Status]++
		out(&c.mark)
	}
	for _, t := range s.gone {
		out(&t.mark)
	}
	out(&s.nodeMark)
	return len(s.services), statuses, pending
}
