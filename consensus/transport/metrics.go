package transport

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	sent, sentBytes, received *prometheus.CounterVec // by lane
	connects                  *prometheus.CounterVec // by lane
	dropped                   *prometheus.CounterVec // by lane and reason
	refused                   *prometheus.CounterVec // by reason
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "muster", Subsystem: "raft_transport", Name: name, Help: help,
		}, labels)
	}
	m := &metrics{
		sent:      vec("messages_sent_total", "Raft messages handed to the network.", "lane"),
		sentBytes: vec("bytes_sent_total", "Bytes of those messages.", "lane"),
		received:  vec("messages_received_total", "Raft messages received from peers.", "lane"),
		connects:  vec("connects_total", "Streams opened to peers.", "lane"),
		dropped:   vec("messages_dropped_total", "Raft messages that were not sent.", "lane", "reason"),
		refused:   vec("refused_total", "Incoming streams that were refused or broke the protocol.", "reason"),
	}
	if r == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.sent, m.sentBytes, m.received, m.connects, m.dropped, m.refused} {
		errs = append(errs, r.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("register transport metrics: %w", err)
	}
	return m, nil
}
