package gossip

import (
	"fmt"
	"time"

	"github.com/hashicorp/serf/serf"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts events and reads the rest off the pool when it is scraped.
type metrics struct {
	pool   *Pool
	events *prometheus.CounterVec
	flaps  prometheus.Counter
	failed map[string]time.Time // members that failed, and when; only observe uses it

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
		flaps: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "muster", Subsystem: "gossip", Name: "flaps_total",
			Help: "Members that came back within a minute after they were seen to fail: many of them speak of a bad network or an overloaded machine.", ConstLabels: labels,
		}),
		failed:  map[string]time.Time{},
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

// flapTime is within what a member that failed and came back counts as a flap.
const flapTime = time.Minute

// observe counts one event.
func (m *metrics) observe(e serf.MemberEvent) {
	name := map[serf.EventType]string{
		serf.EventMemberJoin: "join", serf.EventMemberLeave: "leave", serf.EventMemberFailed: "fail",
		serf.EventMemberUpdate: "update", serf.EventMemberReap: "reap",
	}[e.Type]
	m.events.WithLabelValues(name).Add(float64(len(e.Members)))
	for _, one := range e.Members {
		switch at, failed := m.failed[one.Name]; {
		case e.Type == serf.EventMemberFailed:
			m.failed[one.Name] = time.Now()
			continue
		case e.Type == serf.EventMemberJoin && failed && time.Since(at) < flapTime:
			m.flaps.Inc()
		}
		delete(m.failed, one.Name)
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.members
	ch <- m.health
	m.events.Describe(ch)
	m.flaps.Describe(ch)
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
	m.flaps.Collect(ch)
}
