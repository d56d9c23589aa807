package agentapi

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"muster/api"
	"muster/catalog"
	"muster/catalog/acl"
)

// handlers are the routes' handlers.
type handlers struct {
	agent Agent
	RouteOptions
	// config is who the agent is; it asks once, with the first request.
	config func() SelfConfig
}

func invalid(format string, args ...any) error {
	return catalog.Errorf(catalog.Invalid, format, args...)
}

func duration(d api.Duration) time.Duration { return time.Duration(d) }

func (h handlers) services(*api.Request) (any, error) {
	all := map[string]*agentService{}
	for id, s := range h.agent.Services() {
		all[id] = newAgentService(s, h.config().Datacenter)
	}
	return all, nil
}

// service answers with one service; with the hash of what the caller has, once
// it is different or the time is up.
func (h handlers) service(r *api.Request) (any, error) {
	wait, err := waitTime(r)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	id := r.Var("id")
	for {
		changed := h.agent.Changed()
		s, ok := h.agent.Service(id)
		if !ok {
			return nil, catalog.Errorf(catalog.NotFound, "unknown service ID: %s", id)
		}
		if err := acl.Check(r.Authz, acl.Service, s.Service, acl.Read); err != nil {
			return nil, err
		}
		answer := newAgentService(s, h.config().Datacenter)
		hash, err := answer.hash()
		if err != nil {
			return nil, err
		}
		if hash == r.Query.Get("hash") && ctx.Err() == nil {
			select {
			case <-changed:
				continue
			case <-ctx.Done():
			}
		}
		answer.ContentHash = hash
		return &api.Answer{Header: map[string]string{"X-Consul-ContentHash": hash}, Body: answer}, r.Context().Err()
	}
}

const (
	defaultWait = 5 * time.Minute
	maxWait     = 10 * time.Minute
)

// waitTime is how long a caller waits for another answer.
func waitTime(r *api.Request) (time.Duration, error) {
	if text := r.Query.Get("index"); text != "" {
		if _, err := strconv.ParseUint(text, 10, 64); err != nil {
			return 0, invalid("Invalid index")
		}
	}
	text := r.Query.Get("wait")
	if text == "" {
		return defaultWait, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 {
		return 0, invalid("Invalid wait time")
	}
	return min(wait, maxWait), nil
}

func (h handlers) registerService(r *api.Request) (any, error) {
	var body serviceBody
	if err := api.Decode(r.Body, &body); err != nil {
		return nil, err
	}
	s, checks, err := body.service()
	if err != nil {
		return nil, err
	}
	if s.Service == "" {
		return nil, invalid("Missing service name")
	}
	if s.ID == "" {
		s.ID = s.Service
	}
	sidecar, err := body.sidecar()
	if err != nil {
		return nil, err
	}
	replace, err := r.Bool("replace-existing-checks")
	if err != nil {
		return nil, err
	}
	if err := acl.Check(r.Authz, acl.Service, s.Service, acl.Write); err != nil {
		return nil, err
	}
	if sidecar != nil && sidecar.Service.Service != "" {
		if err := acl.Check(r.Authz, acl.Service, sidecar.Service.Service, acl.Write); err != nil {
			return nil, err
		}
	}
	if old, ok := h.agent.Service(s.ID); ok {
		if err := acl.Check(r.Authz, acl.Service, old.Service, acl.Write); err != nil {
			return nil, err
		}
	}
	return nil, h.agent.AddService(s, checks, Options{
		Token: tokenFor(body.Token, r), ReplaceChecks: replace, Sidecar: sidecar,
	})
}

// tokenFor is the token that a registration says, else the request's.
func tokenFor(said string, r *api.Request) string {
	if said != "" {
		return said
	}
	return r.Token
}

// ownService finds a service that the caller may write.
func (h handlers) ownService(r *api.Request, id string) error {
	s, ok := h.agent.Service(id)
	if !ok {
		return catalog.Errorf(catalog.NotFound, "Unknown service ID %q. Ensure that the service ID is passed, not the service name.", id)
	}
	return acl.Check(r.Authz, acl.Service, s.Service, acl.Write)
}

func (h handlers) deregisterService(r *api.Request) (any, error) {
	id := r.Var("id")
	if err := h.ownService(r, id); err != nil {
		return nil, err
	}
	return nil, h.agent.RemoveService(id)
}

// enable reads ?enable=, which must be there.
func enable(r *api.Request) (bool, error) {
	if !r.Query.Has("enable") {
		return false, invalid("Missing value for enable")
	}
	text := r.Query.Get("enable")
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, invalid("Invalid value for enable: %q", text)
	}
	return on, nil
}

func (h handlers) maintainService(r *api.Request) (any, error) {
	id := r.Var("id")
	if id == "" {
		return nil, invalid("Missing service ID")
	}
	on, err := enable(r)
	if err != nil {
		return nil, err
	}
	if err := h.ownService(r, id); err != nil {
		return nil, err
	}
	return nil, h.agent.MaintainService(id, on, r.Query.Get("reason"))
}

func (h handlers) maintainNode(r *api.Request) (any, error) {
	on, err := enable(r)
	if err != nil {
		return nil, err
	}
	return nil, h.agent.MaintainNode(on, r.Query.Get("reason"))
}

func (h handlers) healthByID(r *api.Request) (any, error) {
	id := r.Var("id")
	if id == "" {
		return nil, invalid("Missing serviceID")
	}
	s, ok := h.agent.Service(id)
	if !ok {
		reason := "ServiceId " + id + " not found"
		return healthAnswer(r, http.StatusNotFound, reason, serviceHealth{AggregatedStatus: catalog.StatusCritical}), nil
	}
	if err := acl.Check(r.Authz, acl.Service, s.Service, acl.Read); err != nil {
		return nil, err
	}
	health := healthOf(s, h.agent.Checks(), h.config().Datacenter)
	return healthAnswer(r, statusFor(health.AggregatedStatus), health.AggregatedStatus, health), nil
}

func (h handlers) healthByName(r *api.Request) (any, error) {
	name := r.Var("name")
	if name == "" {
		return nil, invalid("Missing service Name")
	}
	if err := acl.Check(r.Authz, acl.Service, name, acl.Read); err != nil {
		return nil, err
	}
	all, worst := []serviceHealth{}, catalog.StatusPassing
	checks, services := h.agent.Checks(), h.agent.Services()
	for _, id := range sortedKeys(services) {
		if s := services[id]; catalog.Fold(s.Service) == catalog.Fold(name) {
			health := healthOf(s, checks, h.config().Datacenter)
			all = append(all, health)
			worst = catalog.Worse(worst, health.AggregatedStatus)
		}
	}
	if len(all) == 0 {
		return healthAnswer(r, http.StatusNotFound, "ServiceName "+name+" Not Found", all), nil
	}
	return healthAnswer(r, statusFor(worst), worst, all), nil
}

// statusFor is the status that tells a load balancer how a service is.
func statusFor(health string) int {
	switch health {
	case catalog.StatusPassing:
		return http.StatusOK
	case catalog.StatusWarning:
		return http.StatusTooManyRequests
	}
	return http.StatusServiceUnavailable
}

// healthAnswer is JSON, or just the reason where the caller wants text.
func healthAnswer(r *api.Request, status int, reason string, body any) *api.Answer {
	// A name may hold what a header must not.
	header := map[string]string{"X-Consul-Reason": strings.Map(printable, reason)}
	if r.Query.Get("format") == "text" || r.Accept == "text/plain" {
		body = api.Raw{ContentType: "text/plain", Data: []byte(reason)}
	}
	return &api.Answer{Status: status, Header: header, Body: body}
}

func printable(c rune) rune {
	if c < ' ' || c > '~' {
		return '?'
	}
	return c
}
