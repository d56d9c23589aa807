package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"muster/consensus/core"
	"muster/consensus/wal"
)

// RaftReport says what is in the data directory of a stopped server, and what a
// start would make of it. Its JSON is part of the command line's interface.
type RaftReport struct {
	Dir         string
	Whole       bool
	Damage      string   `json:",omitempty"`
	DamagedFile string   `json:",omitempty"`
	Offset      int64    // in DamagedFile
	Repairs     []string // that a start would make
	NodeID      string   `json:",omitempty"`
	ClusterID   string   `json:",omitempty"`
	Term        uint64
	Vote        core.ServerID
	Commit      uint64
	FirstIndex  uint64
	LastIndex   uint64
	LastTerm    uint64
	// Voteless: a start would give this server no vote until a leader has caught
	// it up, for its log may have lost entries.
	Voteless    bool
	ConfigIndex uint64
	Servers     []RaftReportServer
	Snapshots   []RaftReportSnapshot
	Segments    []wal.SegmentReport
	// Log is the incarnation of the log, in hexadecimal digits.
	Log string
}

// RaftReportServer is a row of the newest configuration.
type RaftReportServer struct {
	ID    core.ServerID
	Addr  string
	Voter bool
}

// RaftReportSnapshot is one snapshot, verified to its last byte.
type RaftReportSnapshot struct {
	File     string
	Index    uint64
	Term     uint64
	Bytes    uint64
	Checksum string
	Damage   string `json:",omitempty"`
}

// VerifyRaft reads the Raft log and the snapshots in an agent's data directory,
// verifies every checksum and changes nothing. Damage is part of the report; an
// error says that the directory could not be read or that an agent uses it.
func VerifyRaft(dir string) (*RaftReport, error) {
	release, err := wal.LockToRead(dir)
	if err != nil {
		return nil, err
	}
	defer release()
	report, _, _, err := inspectRaft(dir)
	return report, err
}

// inspectRaft is VerifyRaft in a locked directory. It gives what a server would
// start from, and the newest configuration, besides.
func inspectRaft(dir string) (*RaftReport, core.Restored, core.Configuration, error) {
	raft := filepath.Join(dir, raftDir)
	r, err := wal.Inspect(wal.OS(), raft)
	if err != nil {
		return nil, core.Restored{}, core.Configuration{}, err
	}
	v := &RaftReport{
		Dir: raft, Whole: r.Whole(), Repairs: r.Repairs, ClusterID: r.Config.ClusterID,
		Term: r.Restored.HardState.Term, Vote: r.Restored.HardState.Vote, Commit: r.Restored.HardState.Commit,
		FirstIndex: r.Restored.FirstIndex, LastIndex: r.Restored.LastIndex, LastTerm: r.LastTerm,
		Voteless: r.Restored.Voteless, ConfigIndex: r.ConfigIndex, Segments: r.Segments,
		Log: fmt.Sprintf("%016x", uint64(r.Restored.Log)),
	}
	switch id, err := os.ReadFile(filepath.Join(dir, nodeIDFile)); {
	case err == nil:
		v.NodeID = strings.TrimSpace(string(id))
	case !errors.Is(err, os.ErrNotExist):
		return nil, core.Restored{}, core.Configuration{}, err
	}
	v.damaged(r.Damage)
	for _, s := range r.Config.Servers {
		v.Servers = append(v.Servers, reportServer(s))
	}
	for _, s := range r.Snapshots {
		out := RaftReportSnapshot{File: s.File, Index: s.Meta.Index, Term: s.Meta.Term, Bytes: s.Meta.Size, Checksum: fmt.Sprintf("%016x", s.Meta.Checksum)}
		if s.Damage != nil {
			out.Damage = s.Damage.Error()
			v.damaged(s.Damage)
		}
		v.Snapshots = append(v.Snapshots, out)
	}
	return v, r.Restored, r.Config, nil
}

func reportServer(s core.Server) RaftReportServer {
	return RaftReportServer{ID: s.ID, Addr: s.Addr, Voter: s.Suffrage == core.Voter}
}

// damaged notes the first damage.
func (v *RaftReport) damaged(err error) {
	if err == nil || v.Damage != "" {
		return
	}
	v.Damage = err.Error()
	if c, ok := errors.AsType[*wal.CorruptError](err); ok {
		v.DamagedFile, v.Offset = c.File, c.Offset
	}
}
