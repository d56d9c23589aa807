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
	restarted := func() bool { return comesBackVoteless(t, fs) }

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

// A server that has caught up has its vote again on its disk at once, though
// nothing else is to be written: it may crash before anything is.
func TestOldCopy_RegainsItsVoteOnDisk(t *testing.T) {
	fs := memfs.NewFaulty()
	e, now := leading(t, func(c *Config) { c.FS = fs })
	host := new(outbox)
	e.host, e.disk.send = host, host.Send
	last := core.EntryID{Term: 9, Index: 3}
	turn(t, e, now, &Input{Messages: []core.Message{{
		Kind: core.MsgHeartbeat, From: "two", To: "one", Term: 9, Prev: last, Commit: 3, Round: 1,
		Acknowledged: last, AcknowledgedBy: e.Status().Incarnation,
	}}})
	own := core.EntryID{Term: e.Status().LastTerm, Index: e.Status().LastIndex}
	turn(t, e, now, &Input{Done: work(e)})
	if !comesBackVoteless(t, fs) {
		t.Fatal("it has not given up its vote")
	}
	asked := slices.IndexFunc(host.sent, func(m core.Message) bool { return m.Kind == core.MsgReadIndex })
	if asked < 0 {
		t.Fatalf("it does not ask how far it must catch up: %v", host.sent)
	}
	turn(t, e, now, &Input{Messages: []core.Message{
		{Kind: core.MsgReadIndexReply, From: "two", To: "one", Term: 9, Token: host.sent[asked].Token, Index: 3, Prev: last},
		{Kind: core.MsgAppend, From: "two", To: "one", Term: 9, Prev: own, Entries: []core.Entry{{Index: 3, Term: 9, Kind: core.EntryNoop}}, Commit: 3, Round: 2},
	}})
	turn(t, e, now, &Input{Done: work(e)})
	if e.Voteless() {
		t.Fatalf("it has not caught up: %+v", e.Status())
	}
	e.Work(LaneDisk)
	if comesBackVoteless(t, fs) {
		t.Error("it has its vote again, but would come back without one")
	}
}

// comesBackVoteless says whether the server on fs would after a crash.
func comesBackVoteless(t *testing.T, fs *memfs.FS) bool {
	t.Helper()
	cfg := DefaultConfig()
	cfg.ID, cfg.FS, cfg.Dir = "one", fs.Crash(memfs.LoseAll, nil), "raft"
	e, err := OpenEngine(cfg, idle{}, new(outbox), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	return e.Status().Voteless
}
