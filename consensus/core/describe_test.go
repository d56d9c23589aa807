package core_test

import (
	"fmt"
	"strings"

	"muster/consensus/core"
)

// describe puts a message into words, for traces.
func describe(m core.Message) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s of term %d: ", m.From, m.Term)
	switch m.Kind {
	case core.MsgPreVote:
		fmt.Fprintf(&b, "would you vote for me? my log ends at %s", id(m.Prev))
	case core.MsgPreVoteReply:
		b.WriteString(map[bool]string{false: "I would vote for you", true: "I would not vote for you"}[m.Reject])
	case core.MsgVote:
		fmt.Fprintf(&b, "vote for me, my log ends at %s", id(m.Prev))
		if m.Campaign == core.CampaignTransfer {
			b.WriteString(", the leader wants it")
		}
	case core.MsgVoteReply:
		b.WriteString(map[bool]string{false: "my vote", true: "no vote"}[m.Reject])
	case core.MsgAppend:
		fmt.Fprintf(&b, "append after %s %s, commit %d", id(m.Prev), describeEntries(m.Entries), m.Commit)
	case core.MsgAppendReply:
		if m.Reject {
			fmt.Fprintf(&b, "refused after %s, perhaps after %s", id(m.Prev), id(m.Hint))
		} else {
			fmt.Fprintf(&b, "stored up to %d", m.Match)
		}
	case core.MsgHeartbeat:
		fmt.Fprintf(&b, "heartbeat, commit %d if you hold %s", m.Commit, id(m.Prev))
	case core.MsgHeartbeatReply:
		b.WriteString(map[bool]string{false: "heartbeat heard", true: "heartbeat refused"}[m.Reject])
	case core.MsgSnapshot:
		fmt.Fprintf(&b, "snapshot up to %d, %d bytes at %d", m.Snapshot.Index, len(m.Data), m.Offset)
		if m.Done {
			b.WriteString(", the last")
		}
	case core.MsgSnapshotReply:
		switch {
		case m.Done:
			fmt.Fprintf(&b, "snapshot up to %d installed", m.Snapshot.Index)
		case m.Snapshot != nil:
			fmt.Fprintf(&b, "snapshot up to %d, go on at %d", m.Snapshot.Index, m.Offset)
		default:
			b.WriteString("snapshot refused")
		}
	case core.MsgTimeoutNow:
		b.WriteString("stand for election now")
	case core.MsgReadIndex:
		b.WriteString("what may I read?")
	case core.MsgReadIndexReply:
		fmt.Fprintf(&b, "read at %d", m.Index)
		if m.Reject {
			b.WriteString(" refused")
		}
	}
	return b.String()
}

func id(e core.EntryID) string { return fmt.Sprintf("%d.%d", e.Term, e.Index) }

// describeEntries lists entries as term.index, with their data.
func describeEntries(es []core.Entry) string {
	parts := make([]string, 0, len(es))
	for _, e := range es {
		s := fmt.Sprintf("%d.%d", e.Term, e.Index)
		switch e.Kind {
		case core.EntryCommand:
			s += "=" + string(e.Data)
		case core.EntryConfig:
			s += "=" + describeConfig(e.Data)
		}
		parts = append(parts, s)
	}
	return "[" + strings.Join(parts, " ") + "]"
}

func describeConfig(data []byte) string {
	config, err := core.DecodeConfiguration(data)
	if err != nil {
		return err.Error()
	}
	var ids []string
	for _, s := range config.Servers {
		name := string(s.ID)
		if s.Suffrage == core.Learner {
			name += "(learner)"
		}
		ids = append(ids, name)
	}
	return "{" + strings.Join(ids, ",") + "}"
}
