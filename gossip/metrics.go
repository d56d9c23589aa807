package gossip

import (
	"fmt"

	"github.com/hashicorp/serf/serf"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts events and reads the rest off the pool when it is scraped.
type metrics struct {
	pool   *Pool
	events *prometheus.CounterVec

	members, health *prometheus.Desc
}

func newMetrics(p *Pool, c Config) *metrics {
	pool := "lan"
	if c.WAN {
		pool = "wan"
	}
	labels := prometheus.Labels{"pool": pool}
	return &metrics{
		pool: p,
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "muster", Subsystem: "gossip", Name: "member_events_total",
			Help: "Members seen to join, leave, fail, change their tags, or be forgotten.", ConstLabels: labels,
		}, []string{"event"}),
		members: prometheus.NewDesc("muster_gossip_members", "Known members by status.", []string{"status"}, labels),
		health: prometheus.NewDesc("muster_gossip_health_score",
			"How far this agent doubts itself: 0 is well, more slows its probes of others.", nil, labels),
	}
}

func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	if err := r.Register(m); err != nil {
		return fmt.Errorf("register gossip metrics: %w", err)
	}
	return nil
}

// observe counts one event.
func (m *metrics) observe(e serf.MemberEvent) {
	name := map[serf.EventType]string{
		serf.EventMemberJoin: "join", serf.EventMemberLeave: "leave", serf.EventMemberFailed: "fail",
		serf.EventMemberUpdate: "update", serf.EventMemberReap: "reap",
	}[e.Type]
	m.events.WithLabelValues(name).Add(float64(len(e.Members)))
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.members
	ch <- m.health
	m.events.Describe(ch)
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	count := map[Status]int{}
	for _, s := range m.pool.serf.Members() {
		count[Status(s.Status)]++
	}
	for _, s := range []Status{StatusAlive, StatusLeaving, StatusLeft, StatusFailed} {
		ch <- prometheus.MustNewConstMetric(m.members, prometheus.GaugeValue, float64(count[s]), s.String())
	}
	ch <- prometheus.MustNewConstMetric(m.health, prometheus.GaugeValue, float64(m.pool.serf.Memberlist().GetHealthScore()))
	m.events.Collect(ch)
}
