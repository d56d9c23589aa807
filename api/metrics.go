package api

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count requests by route: a row's path, never what a caller sent.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight *prometheus.GaugeVec
	panics   prometheus.Counter
	events   prometheus.Counter
}

func newMetrics(r prometheus.Registerer, cache *answers, active, waiting *room) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "muster_http_requests_total", Help: "Requests answered, by route and status."}, []string{"method", "route", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "muster_http_request_seconds", Help: "Time to answer requests that did not wait for a change.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}}, []string{"method", "route"}),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "muster_http_requests_in_flight", Help: "Requests being answered, blocking queries among them."}, []string{"method", "route"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_http_panics_total", Help: "Handlers that panicked; each is a bug."}),
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "muster_http_stream_events_total", Help: "Events written to streams."}),
	}
	if r == nil {
		return m, nil
	}
	bytes := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "muster_http_answers_bytes", Help: "Memory that kept answers take."}, func() float64 { return float64(cache.size()) })
	kept := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "muster_http_answers_kept_total", Help: "Reads of the catalog answered with an answer made before."}, func() float64 { return float64(cache.kept.Load()) })
	made := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "muster_http_answers_made_total", Help: "Answers made from the catalog."}, func() float64 { return float64(cache.made.Load()) })
	refused := func(r *room, what string) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "muster_http_refused_total", Help: "Requests refused because there were too many of their sort.",
			ConstLabels: prometheus.Labels{"sort": what}}, func() float64 { return float64(r.refused.Load()) })
	}
	held := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "muster_http_waiting", Help: "Blocking queries and streams that are held."}, func() float64 { return float64(waiting.taken.Load()) })
	for _, c := range []prometheus.Collector{refused(active, "active"), refused(waiting, "waiting"), held, m.requests, m.duration, m.inFlight, m.panics, m.events, bytes, kept, made} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// routeMetrics are those of one row, looked up once.
type routeMetrics struct {
	m        *metrics
	method   string
	path     string
	duration prometheus.Observer
	inFlight prometheus.Gauge
}

func (m *metrics) of(row *Route) *routeMetrics {
	return &routeMetrics{
		m: m, method: row.Method, path: row.Path,
		duration: m.duration.WithLabelValues(row.Method, row.Path),
		inFlight: m.inFlight.WithLabelValues(row.Method, row.Path),
	}
}

// begin counts a request in; what it returns counts it out. The status is 0
// where the caller went away.
func (m *routeMetrics) begin() func(status int, waited bool) {
	m.inFlight.Inc()
	start := time.Now()
	return func(status int, waited bool) {
		m.inFlight.Dec()
		code := "gone"
		if status != 0 {
			code = strconv.Itoa(status)
		}
		m.m.requests.WithLabelValues(m.method, m.path, code).Inc()
		if !waited {
			m.duration.Observe(time.Since(start).Seconds())
		}
	}
}
