package agentapi

import (
	"bytes"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"muster/api"
	"muster/catalog"
)

// metricsJSON is the answer of /v1/agent/metrics in go-metrics' shape. What its
// counters and samples cover is the agent's whole life, not an interval, so the
// figures of an interval (rate, extremes, deviation) are left out.
type metricsJSON struct {
	Timestamp string
	Gauges    []gauge
	Points    []struct{}
	Counters  []sampled
	Samples   []sampled
}

type gauge struct {
	Name   string
	Value  float64
	Labels map[string]string
}

type sampled struct {
	Name   string
	Count  uint64
	Sum    float64
	Mean   float64
	Labels map[string]string
}

// runtimeGauges are those of the Go runtime that clients know under go-metrics' names.
var runtimeGauges = map[string]string{
	"go_memstats_alloc_bytes":  "runtime.alloc_bytes",
	"go_memstats_sys_bytes":    "runtime.sys_bytes",
	"go_memstats_heap_objects": "runtime.heap_objects",
	"go_goroutines":            "runtime.num_goroutines",
}

func (h handlers) metrics(r *api.Request) (any, error) {
	if r.Query.Get("format") == "prometheus" {
		families, err := h.families()
		if err != nil {
			return nil, err
		}
		return prometheusText(families)
	}
	return h.gather()
}

// families are the metrics as they are now.
func (h handlers) families() ([]*dto.MetricFamily, error) {
	families, err := h.Gatherer.Gather()
	if err != nil && len(families) == 0 {
		return nil, catalog.Errorf(catalog.Internal, "gather metrics: %v", err)
	}
	return families, nil
}

// gather gives the metrics as they are now, in go-metrics' shape.
func (h handlers) gather() (metricsJSON, error) {
	families, err := h.families()
	out := metricsJSON{
		Timestamp: time.Now().UTC().Format("2006-01-02 15:04:05 -0700 MST"),
		Gauges:    []gauge{}, Points: []struct{}{}, Counters: []sampled{}, Samples: []sampled{},
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			out.add(f, m, "consul."+h.Hostname+".")
		}
	}
	return out, err
}

// add puts one metric where it belongs. Gauges of the runtime carry a prefix with
// the host's name, as go-metrics has it; all others keep their own names.
func (j *metricsJSON) add(f *dto.MetricFamily, m *dto.Metric, prefix string) {
	labels := map[string]string{}
	for _, l := range m.GetLabel() {
		labels[l.GetName()] = l.GetValue()
	}
	name := f.GetName()
	switch f.GetType() {
	case dto.MetricType_GAUGE:
		if known := runtimeGauges[name]; known != "" {
			name = prefix + known
		}
		j.Gauges = append(j.Gauges, gauge{name, m.GetGauge().GetValue(), labels})
	case dto.MetricType_COUNTER:
		v := m.GetCounter().GetValue()
		j.Counters = append(j.Counters, sampled{name, uint64(v), v, 1, labels})
	case dto.MetricType_HISTOGRAM:
		j.sample(name, m.GetHistogram().GetSampleCount(), m.GetHistogram().GetSampleSum(), labels)
	case dto.MetricType_SUMMARY:
		j.sample(name, m.GetSummary().GetSampleCount(), m.GetSummary().GetSampleSum(), labels)
	}
}

func (j *metricsJSON) sample(name string, count uint64, sum float64, labels map[string]string) {
	if count > 0 {
		j.Samples = append(j.Samples, sampled{name, count, sum, sum / float64(count), labels})
	}
}

// prometheusText is the text form that Prometheus scrapes.
func prometheusText(families []*dto.MetricFamily) (any, error) {
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	var text bytes.Buffer
	enc := expfmt.NewEncoder(&text, format)
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			return nil, catalog.Errorf(catalog.Internal, "encode metric %s: %v", f.GetName(), err)
		}
	}
	return api.Raw{ContentType: string(format), Data: text.Bytes()}, nil
}
