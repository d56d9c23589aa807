package consensus

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"muster/consensus/core"
	"muster/consensus/wal/memfs"
)

// A server that is told of what it has acknowledged and lost has given up its vote
// on its disk before it says so to anybody, and says it in its log.
func TestOldCopy_IsVotelessOnItsDiskBeforeItSaysSo(t *testing.T) {
	var log bytes.Buffer
	fs := memfs.NewFaulty()
	tune := func(c *Config) { c.FS, c.Logger = fs, slog.New(slog.NewTextHandler(&log, nil)) }
	e, now := leading(t, tune)
	host := new(outbox)
	e.host, e.disk.send = host, host.Send
	restarted := func() bool {
		cfg := DefaultConfig()
		cfg.ID, cfg.FS, cfg.Dir = "one", fs.Crash(memfs.LoseAll, nil), "raft"
		again, err := OpenEngine(cfg, idle{}, new(outbox), now)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = again.Close() }()
		return again.Status().Voteless
	}

	turn(t, e, now, &Input{Messages: []core.Message{{
		Kind: core.MsgHeartbeat, From: "two", To: "one", Term: 9, Prev: core.EntryID{Term: 9, Index: 50}, Commit: 50, Round: 1,
		Acknowledged: core.EntryID{Term: 9, Index: 50}, AcknowledgedBy: e.Status().Incarnation,
	}}})
	if !e.Status().Voteless || len(host.sent) > 0 || restarted() {
		t.Fatalf("voteless: %v; sent before the write: %v; on its disk before the write: %v", e.Status().Voteless, host.sent, restarted())
	}
	done := e.Work(LaneDisk)
	if !slices.ContainsFunc(host.sent, func(m core.Message) bool { return m.Kind == core.MsgAppendReply && m.Voteless }) || !restarted() {
		t.Errorf("after the write it has sent %v, and would come back voteless: %v", host.sent, restarted())
	}
	turn(t, e, now, &Input{Done: done})
	want := "this server acknowledged index 50 to leader two in term 9, but its log ends at 2 or holds another entry there: this is an older copy of its disk"
	if !strings.Contains(log.String(), want) {
		t.Errorf("the log says %s\nwant in it %q", log.String(), want)
	}
}
