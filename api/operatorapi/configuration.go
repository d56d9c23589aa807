package operatorapi

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"muster/api"
	"muster/catalog"
	"muster/catalog/state"
)

// configuration is catalog.Autopilot as the API gives and takes it: durations
// are texts.
type configuration struct {
	CleanupDeadServers      bool
	LastContactThreshold    span
	MaxTrailingLogs         uint64
	MinQuorum               uint64
	ServerStabilizationTime span
	RedundancyZoneTag       string
	DisableUpgradeMigration bool
	UpgradeVersionTag       string
	CreateIndex             uint64
	ModifyIndex             uint64
}

// span is an api.Duration that is also given as text.
type span struct{ api.Duration }

// MarshalJSON implements json.Marshaler.
func (s span) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(s.Duration).String()) }

func newConfiguration(a catalog.Autopilot) configuration {
	return configuration{
		CleanupDeadServers: a.CleanupDeadServers, LastContactThreshold: span{api.Duration(a.LastContactThreshold)},
		MaxTrailingLogs: a.MaxTrailingLogs, MinQuorum: a.MinQuorum,
		ServerStabilizationTime: span{api.Duration(a.ServerStabilizationTime)},
		RedundancyZoneTag:       a.RedundancyZoneTag, DisableUpgradeMigration: a.DisableUpgradeMigration,
		UpgradeVersionTag: a.UpgradeVersionTag, CreateIndex: a.CreateIndex, ModifyIndex: a.ModifyIndex,
	}
}

// autopilot is the reverse of newConfiguration, but for the indexes, which only
// a commit gives.
func (c configuration) autopilot() catalog.Autopilot {
	return catalog.Autopilot{
		CleanupDeadServers: c.CleanupDeadServers, LastContactThreshold: time.Duration(c.LastContactThreshold.Duration),
		MaxTrailingLogs: c.MaxTrailingLogs, MinQuorum: c.MinQuorum,
		ServerStabilizationTime: time.Duration(c.ServerStabilizationTime.Duration),
		RedundancyZoneTag:       c.RedundancyZoneTag, DisableUpgradeMigration: c.DisableUpgradeMigration,
		UpgradeVersionTag: c.UpgradeVersionTag,
	}
}

func getConfiguration(v *state.View, _ *api.Request) (any, error) {
	return newConfiguration(v.Autopilot()), nil
}

func setConfiguration(r *api.Request) (catalog.Command, error) {
	cmd := &catalog.SetAutopilot{CAS: r.Has("cas")}
	if cmd.CAS {
		var err error
		if cmd.Index, err = strconv.ParseUint(r.Query.Get("cas"), 10, 64); err != nil {
			return nil, catalog.Errorf(catalog.Invalid, "Error parsing cas value: %v", err)
		}
	}
	body := newConfiguration(catalog.DefaultAutopilot())
	if err := api.Decode(r.Body, &body); err != nil {
		return nil, catalog.Errorf(catalog.Invalid, "Error parsing autopilot config: %s", strings.TrimPrefix(err.Error(), "Request decode failed: "))
	}
	cmd.Autopilot = body.autopilot()
	return cmd, cmd.Autopilot.Validate()
}
