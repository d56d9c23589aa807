package consensus

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"muster/consensus/core"
)

// metrics are a node's figures: histograms and counters that are fed as things
// happen, and gauges that are read from Status when they are collected.
type metrics struct {
	reg  prometheus.Registerer
	node *Node

	commit  prometheus.Histogram
	propose prometheus.Histogram
	work    [numLanes]prometheus.Observer
	workVec *prometheus.HistogramVec
	leaders prometheus.Counter
}

// gauge describes one figure of Status.
type gauge struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(s *Status) float64
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("muster_raft_"+name, help, labels, nil)
}

var gauges = []gauge{
	{desc("term", "Current term."), prometheus.GaugeValue, func(s *Status) float64 { return float64(s.Term) }},
	{desc("is_leader", "1 while this server leads."), prometheus.GaugeValue, func(s *Status) float64 { return truth(s.Role == core.Leader) }},
	{desc("has_leader", "1 while this server knows a leader."), prometheus.GaugeValue, func(s *Status) float64 { return truth(s.Leader != "") }},
	{desc("commit_index", "Highest log index known to be committed."), prometheus.GaugeValue, func(s *Status) float64 { return float64(s.Commit) }},
	{desc("applied_index", "Highest log index that the state machine has taken in."), prometheus.GaugeValue, func(s *Status) float64 { return float64(s.Applied) }},
	{desc("last_index", "Last index of the log."), prometheus.GaugeValue, func(s *Status) float64 { return float64(s.LastIndex) }},
	{desc("durable_index", "Last index that is on this server's disk."), prometheus.GaugeValue, func(s *Status) float64 { return float64(s.Durable) }},
	{desc("log_bytes", "Bytes of disk that the log takes."), prometheus.GaugeValue, func(s *Status) float64 { return float64(s.Log.Bytes) }},
	{desc("log_segments", "Files of the log."), prometheus.GaugeValue, func(s *Status) float64 { return float64(s.Log.Segments) }},
	{desc("snapshot_bytes", "Bytes of the newest snapshot."), prometheus.GaugeValue, func(s *Status) float64 { return float64(s.Snapshot.Size) }},
	{desc("snapshot_index", "Log index of the newest snapshot."), prometheus.GaugeValue, func(s *Status) float64 { return float64(s.Snapshot.Index) }},
	{desc("snapshot_lag_entries", "Entries applied since the newest snapshot."), prometheus.GaugeValue, func(s *Status) float64 { return float64(s.Applied) - float64(s.Snapshot.Index) }},
	{desc("last_contact_seconds", "Time since the leader was heard; on the leader, since a quorum was. -1 if never."), prometheus.GaugeValue, func(s *Status) float64 { return contact(s.LastContact) }},
	{desc("voteless", "1 while this server casts no vote because its log may have lost entries."), prometheus.GaugeValue, func(s *Status) float64 { return truth(s.Voteless) }},
	{desc("voters", "Servers that count in majorities."), prometheus.GaugeValue, func(s *Status) float64 { return float64(voters(s.Config)) }},
	{desc("disk_free_bytes", "Room on the disk of the log as last looked at; 0 if never."), prometheus.GaugeValue, func(s *Status) float64 { return float64(s.Disk.Room.Free) }},
	{desc("disk_reserve_bytes", "Room below which this server takes no new commands."), prometheus.GaugeValue, func(s *Status) float64 { return float64(s.Disk.Room.Reserve) }},
	{desc("disk_full", "1 while there is less room than the reserve."), prometheus.GaugeValue, func(s *Status) float64 { return truth(s.Disk.Full) }},
	{desc("disk_hung", "1 while no write to the disk ends."), prometheus.GaugeValue, func(s *Status) float64 { return truth(s.Disk.Hung) }},
	{desc("appends_held_total", "Appends from the leader whose commands were left out for lack of room."), prometheus.CounterValue, func(s *Status) float64 { return float64(s.Disk.Held) }},
	{desc("faults_total", "Messages that contradicted what is committed or elected."), prometheus.CounterValue, func(s *Status) float64 { return float64(s.Faults) }},
	{desc("late_turns_total", "How often this server had its turn a heartbeat interval late or more: it got no processor, or its machine slept."), prometheus.CounterValue, func(s *Status) float64 { return float64(s.LateTurns) }},
	{desc("messages_dropped_total", "Received messages dropped because this server was flooded."), prometheus.CounterValue, func(s *Status) float64 { return float64(s.Dropped) }},
}

var (
	roleDesc = desc("role", "1 for the role that this server has.", "role")
	lagDesc  = desc("follower_lag_entries", "Entries of the leader's log that a follower does not have on disk yet.", "server")
	maxDesc  = desc("follower_lag_entries_max", "Entries that the slowest follower does not have on disk yet.")
	stuck    = desc("follower_stuck_seconds", "Time for which a follower has answered heartbeats and stored nothing, though it lacks entries; 0 while it does not.", "server")
	otherLog = desc("follower_other_log", "1 for a voter that came back with another log than its vote belongs to.", "server")
	spare    = desc("failure_tolerance", "Voters that may still fail before nothing can be committed.")
	ackDesc  = desc("follower_last_contact_seconds", "Time since a follower answered the leader.", "server")
)

// newMetrics registers a node's metrics; reg may be nil.
func newMetrics(reg prometheus.Registerer, n *Node) (*metrics, error) {
	latency := prometheus.ExponentialBuckets(50e-6, 2, 18) // 50 µs to 6.5 s
	m := &metrics{
		reg:  reg,
		node: n,
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "muster_raft_commit_seconds", Help: "Time from proposing an entry on the leader to its commit.", Buckets: latency}),
		propose: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "muster_raft_propose_seconds", Help: "Time from proposing a command to its result, applied.", Buckets: latency}),
		workVec: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "muster_raft_work_seconds", Help: "Time of one round of work: disk is write and fsync of a batch, apply the state machine, read log and snapshot pieces for others, snapshot the writing of snapshot files.", Buckets: latency},
			[]string{"lane"}),
		leaders: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_raft_leader_changes_total", Help: "How often another leader was seen."}),
	}
	for _, l := range Lanes() {
		m.work[l] = m.workVec.WithLabelValues(l.String())
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range m.collectors() {
		if err := reg.Register(c); err != nil {
			m.unregister()
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.commit, m.propose, m.workVec, m.leaders, m}
}

// unregister takes the metrics off again: a closed node is not collected.
func (m *metrics) unregister() {
	if m.reg == nil {
		return
	}
	for _, c := range m.collectors() {
		m.reg.Unregister(c)
	}
}

func (m *metrics) committed(d core.Duration)      { m.commit.Observe(time.Duration(d).Seconds()) }
func (m *metrics) proposed(d time.Duration)       { m.propose.Observe(d.Seconds()) }
func (m *metrics) worked(l Lane, d time.Duration) { m.work[l].Observe(d.Seconds()) }
func (m *metrics) changed(old, now *page) {
	if now.core.Leader != "" && (old == nil || old.core.Leader != now.core.Leader || old.core.Term != now.core.Term) {
		m.leaders.Inc()
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, g := range gauges {
		ch <- g.desc
	}
	ch <- roleDesc
	for _, d := range []*prometheus.Desc{lagDesc, maxDesc, stuck, otherLog, spare, ackDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	s := m.node.Status()
	for _, g := range gauges {
		ch <- prometheus.MustNewConstMetric(g.desc, g.kind, g.value(&s))
	}
	for _, r := range []core.Role{core.Follower, core.Candidate, core.Leader} {
		ch <- prometheus.MustNewConstMetric(roleDesc, prometheus.GaugeValue, truth(s.Role.String() == r.String()), r.String())
	}
	if s.Role != core.Leader {
		return
	}
	now, slowest := clock(), uint64(0)
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	health := s.health(now)
	gauge(spare, float64(health.Tolerance()))
	for _, p := range s.Progress { // at most the servers of the configuration
		if p.ID == s.ID {
			continue
		}
		lag := s.LastIndex - min(p.Match, s.LastIndex)
		slowest = max(slowest, lag)
		gauge(lagDesc, float64(lag), string(p.ID))
		gauge(stuck, stuckFor(&p, now).Seconds(), string(p.ID))
		gauge(otherLog, truth(p.OtherLog != 0), string(p.ID))
		if p.LastContact > 0 {
			gauge(ackDesc, time.Duration(max(0, now-p.LastContact)).Seconds(), string(p.ID))
		}
	}
	gauge(maxDesc, float64(slowest))
}

// stuckFor is how long replication to a server that answers has stood still.
func stuckFor(p *core.Progress, now core.Instant) time.Duration {
	if p.StuckSince == 0 {
		return 0
	}
	return time.Duration(max(0, now-p.StuckSince))
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func contact(d time.Duration) float64 {
	if d < 0 {
		return -1
	}
	return d.Seconds()
}

func voters(c core.Configuration) (n int) {
	for _, s := range c.Servers {
		if s.Suffrage == core.Voter {
			n++
		}
	}
	return n
}
