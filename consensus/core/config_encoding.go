package core

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// configVersion is the first byte of an encoded Configuration. A server that
// meets a version it does not know refuses the entry instead of guessing.
const configVersion = 1

// maxConfigBytes and maxServers bound what DecodeConfiguration accepts.
const (
	maxConfigBytes = 1 << 20
	maxServers     = 1 << 10
)

// wireServer and wireConfiguration fix the JSON names of a Configuration, so
// that renaming a Go field cannot change the disk and wire formats.
type wireServer struct {
	ID       ServerID    `json:"id"`
	Addr     string      `json:"addr"`
	Suffrage string      `json:"suffrage"`
	Log      Incarnation `json:"log,omitempty"` // absent: 0
}

type wireConfiguration struct {
	ClusterID string       `json:"cluster_id"`
	Servers   []wireServer `json:"servers"`
	Timing    *wireTiming  `json:"timing,omitempty"` // absent: DefaultTiming
}

// wireTiming is in nanoseconds.
type wireTiming struct {
	ElectionMin Duration `json:"election_min"`
	ElectionMax Duration `json:"election_max"`
	Heartbeat   Duration `json:"heartbeat"`
}

const (
	wireLearner = "learner"
	wireVoter   = "voter"
)

// EncodeConfiguration gives the payload of an EntryConfig: one version byte,
// then JSON. Equal Configurations give equal bytes.
func EncodeConfiguration(c Configuration) []byte {
	w := wireConfiguration{ClusterID: c.ClusterID, Servers: make([]wireServer, 0, len(c.Servers))}
	for _, s := range c.Servers {
		suffrage := wireLearner
		if s.Suffrage == Voter {
			suffrage = wireVoter
		}
		w.Servers = append(w.Servers, wireServer{ID: s.ID, Addr: s.Addr, Suffrage: suffrage, Log: s.Log})
	}
	if c.Timing != (Timing{}) {
		t := wireTiming(c.Timing)
		w.Timing = &t
	}
	body, err := json.Marshal(w)
	if err != nil {
		panic(fmt.Sprintf("core: encode configuration %+v: %v", c, err)) // strings only: cannot fail
	}
	return append([]byte{configVersion}, body...)
}

// DecodeConfiguration reads what EncodeConfiguration wrote. It is strict:
// unknown fields, trailing bytes and a Configuration that Validate refuses are
// errors.
func DecodeConfiguration(b []byte) (Configuration, error) {
	if len(b) == 0 || len(b) > maxConfigBytes {
		return Configuration{}, fmt.Errorf("decode configuration: %d bytes, want 1 to %d", len(b), maxConfigBytes)
	}
	if b[0] != configVersion {
		return Configuration{}, fmt.Errorf("decode configuration: version %d, this server knows %d", b[0], configVersion)
	}
	dec := json.NewDecoder(bytes.NewReader(b[1:]))
	dec.DisallowUnknownFields()
	var w wireConfiguration
	if err := dec.Decode(&w); err != nil {
		return Configuration{}, fmt.Errorf("decode configuration: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Configuration{}, errors.New("decode configuration: bytes after its end")
	}
	c := Configuration{ClusterID: w.ClusterID, Servers: make([]Server, 0, len(w.Servers))}
	for _, s := range w.Servers {
		server := Server{ID: s.ID, Addr: s.Addr, Log: s.Log}
		switch s.Suffrage {
		case wireLearner:
			server.Suffrage = Learner
		case wireVoter:
			server.Suffrage = Voter
		default:
			return Configuration{}, fmt.Errorf("decode configuration: server %q has suffrage %q", s.ID, s.Suffrage)
		}
		c.Servers = append(c.Servers, server)
	}
	if w.Timing != nil {
		c.Timing = Timing(*w.Timing)
	}
	if err := c.Validate(); err != nil {
		return Configuration{}, fmt.Errorf("decode configuration: %w", err)
	}
	return c, nil
}

// Validate checks what every Configuration in a log must be: sorted by ID,
// without doubles or empty IDs, of bounded size, with at least one voter, and
// with times that make sense.
func (c Configuration) Validate() error {
	if len(c.Servers) > maxServers {
		return fmt.Errorf("%d servers, at most %d are allowed", len(c.Servers), maxServers)
	}
	voters := 0
	for i, s := range c.Servers {
		switch {
		case s.ID == "":
			return fmt.Errorf("server %d has no ID", i)
		case i > 0 && c.Servers[i-1].ID >= s.ID:
			return fmt.Errorf("server %q is listed after %q; they must be sorted by ID, without doubles", s.ID, c.Servers[i-1].ID)
		case s.Suffrage != Voter && s.Suffrage != Learner:
			return fmt.Errorf("server %q has unknown suffrage %d", s.ID, s.Suffrage)
		case s.Suffrage == Learner && s.Log != 0:
			return fmt.Errorf("server %q is a learner, of which no log is fixed", s.ID)
		}
		if s.Suffrage == Voter {
			voters++
		}
	}
	if voters == 0 {
		return errors.New("no voter")
	}
	return c.Timing.Validate()
}

// Find gives the server with the ID, and whether there is one.
func (c Configuration) Find(id ServerID) (Server, bool) {
	i, ok := c.search(id)
	if !ok {
		return Server{}, false
	}
	return c.Servers[i], true
}

func (c Configuration) search(id ServerID) (int, bool) {
	return slices.BinarySearchFunc(c.Servers, id, func(s Server, id ServerID) int {
		return strings.Compare(string(s.ID), string(id))
	})
}

// IsVoter says whether the server with the ID counts in majorities.
func (c Configuration) IsVoter(id ServerID) bool {
	s, ok := c.Find(id)
	return ok && s.Suffrage == Voter
}

// Voters gives the number of servers that count in majorities.
func (c Configuration) Voters() int {
	n := 0
	for _, s := range c.Servers {
		if s.Suffrage == Voter {
			n++
		}
	}
	return n
}
