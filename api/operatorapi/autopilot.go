package operatorapi

import (
	"net/http"
	"time"

	"muster/api"
)

// clusterHealth is the answer of /v1/operator/autopilot/health.
type clusterHealth struct {
	Healthy          bool
	FailureTolerance int
	Servers          []serverHealth
}

type serverHealth struct {
	ID          string
	Name        string
	Address     string
	SerfStatus  string
	Version     string
	Leader      bool
	LastContact string
	LastTerm    uint64
	LastIndex   uint64
	Healthy     bool
	Voter       bool
	StableSince time.Time
	Reason      string `json:",omitempty"`
}

// clusterState is the answer of /v1/operator/autopilot/state.
type clusterState struct {
	Healthy                    bool
	FailureTolerance           int
	OptimisticFailureTolerance int
	Servers                    map[string]serverState
	Leader                     string
	Voters                     []string
}

type serverState struct {
	ID          string
	Name        string
	Address     string
	NodeStatus  string
	Version     string
	LastContact string
	LastTerm    uint64
	LastIndex   uint64
	Healthy     bool
	StableSince time.Time
	ReadReplica bool
	Status      string
	Meta        map[string]string
	NodeType    string
	Reason      string `json:",omitempty"`
}

// health answers as Consul does: with 429 where a server is not healthy.
func (h handlers) health(*api.Request) (any, error) {
	servers, err := h.quorum.Health()
	if err != nil {
		return nil, err
	}
	all := clusterHealth{FailureTolerance: tolerance(servers), Healthy: healthy(servers), Servers: []serverHealth{}}
	for _, s := range servers {
		all.Servers = append(all.Servers, serverHealth{
			ID: s.ID, Name: s.Name, Address: s.Address, SerfStatus: s.SerfStatus, Version: s.Version, Leader: s.Leader,
			LastContact: s.LastContact.String(), LastTerm: s.LastTerm, LastIndex: s.LastIndex,
			Healthy: s.Reason == "", Voter: s.Voter, StableSince: s.StableSince.UTC().Truncate(time.Second), Reason: s.Reason,
		})
	}
	status := http.StatusOK
	if !all.Healthy {
		status = http.StatusTooManyRequests
	}
	return &api.Answer{Status: status, Body: all}, nil
}

func (h handlers) state(*api.Request) (any, error) {
	servers, err := h.quorum.Health()
	if err != nil {
		return nil, err
	}
	n := tolerance(servers)
	all := clusterState{
		Healthy: healthy(servers), FailureTolerance: n,
		OptimisticFailureTolerance: n, // there are no zones whose spare servers would add to it
		Servers:                    map[string]serverState{}, Voters: []string{},
	}
	for _, s := range servers {
		state := serverState{
			ID: s.ID, Name: s.Name, Address: s.Address, NodeStatus: s.SerfStatus, Version: s.Version,
			LastContact: s.LastContact.String(), LastTerm: s.LastTerm, LastIndex: s.LastIndex,
			Healthy: s.Reason == "", StableSince: s.StableSince.UTC(), Meta: s.Meta, NodeType: "voter",
			Status: "non-voter", Reason: s.Reason,
		}
		if s.Voter {
			all.Voters = append(all.Voters, s.ID)
			state.Status = "voter"
		}
		if s.Leader {
			all.Leader = s.ID
			state.Status = "leader"
		}
		all.Servers[s.ID] = state
	}
	return all, nil
}

func healthy(servers []ServerHealth) bool {
	for _, s := range servers {
		if s.Reason != "" {
			return false
		}
	}
	return true
}

// tolerance is how many healthy voters there are beyond a majority.
func tolerance(servers []ServerHealth) int {
	voters, sound := 0, 0
	for _, s := range servers {
		if !s.Voter {
			continue
		}
		voters++
		if s.Reason == "" {
			sound++
		}
	}
	return max(0, sound-(voters/2+1))
}
