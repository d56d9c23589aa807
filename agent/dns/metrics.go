package dns

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The kinds of questions, as metrics tell them apart.
const (
	kindDomain    = "domain"    // a name in our zones
	kindReverse   = "ptr"       // a name of an address
	kindRecursive = "recursive" // any other name, asked of recursors
	kindRefused   = "refused"
)

// metrics count questions and time their answers.
type metrics struct {
	durations  map[string]prometheus.Observer // by kind; never written after newMetrics
	recursions *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "muster_dns_query_seconds", Help: "Time to answer DNS questions, by kind: domain, ptr, recursive, refused.",
		Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}}, []string{"type"})
	m := &metrics{
		durations: map[string]prometheus.Observer{},
		recursions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "muster_dns_recursor_queries_total", Help: "Questions sent to recursors, by result (ok, failed)."}, []string{"result"}),
	}
	for _, kind := range []string{kindDomain, kindReverse, kindRecursive, kindRefused} {
		m.durations[kind] = duration.WithLabelValues(kind)
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{duration, m.recursions} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) answered(kind string, start time.Time) {
	m.durations[kind].Observe(time.Since(start).Seconds())
}
