package agentapi

import (
	"context"
	"encoding/json"
	"time"

	"muster/api"
)

// metricsEvery is the pause between two parts of /v1/agent/metrics/stream, the
// length of Consul's interval.
const metricsEvery = 10 * time.Second

// metricsStream gives what /v1/agent/metrics does again and again, one JSON object
// after the other, the first at once.
func (h handlers) metricsStream(*api.Request) (any, error) {
	ticker := time.NewTicker(metricsEvery)
	first := make(chan struct{}, 1)
	first <- struct{}{}
	next := func(ctx context.Context) ([]byte, error) {
		select {
		case <-first:
		case <-ticker.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		figures, err := h.gather()
		if err != nil {
			return nil, err
		}
		line, err := json.Marshal(figures)
		return append(line, '\n'), err
	}
	return &api.Answer{Body: api.Lines{ContentType: "application/json", Next: next, Close: ticker.Stop}}, nil
}
