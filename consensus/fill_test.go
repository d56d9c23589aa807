package consensus

import (
	"bytes"
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"muster/consensus/core"
	"muster/consensus/wal"
)

// outbox is a Host that keeps what is sent.
type outbox struct{ sent []core.Message }

func (o *outbox) Send(m core.Message) { o.sent = append(o.sent, m) }
func (o *outbox) Wake(Lane)           {}

// What was read from the log for a follower may have been replaced since, unless
// this server has led in the message's term all the while.
func TestFill_IsSentOnlyByTheLeaderOfItsTerm(t *testing.T) {
	for _, tc := range []struct {
		name string
		role core.Role
		term uint64
		read bool
		sent int
	}{
		{"still the leader", core.Leader, 2, true, 1},
		{"nothing was read", core.Leader, 2, false, 0},
		{"stepped down", core.Follower, 2, true, 0},
		{"leads a later term", core.Leader, 3, true, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			host := new(outbox)
			e := &Engine{host: host, status: core.Status{Role: tc.role, Term: tc.term}}
			f := &fill{msg: core.Message{Kind: core.MsgAppend, Term: 2, To: "b"}}
			if !tc.read {
				f.err = wal.ErrCompacted
			}
			f.finish(e)
			if len(host.sent) != tc.sent {
				t.Errorf("%d messages left, want %d", len(host.sent), tc.sent)
			}
		})
	}
}

// A disk that can't be read is no reason to stop, but one to be told of: once a
// second, however often the core asks.
func TestFill_FailedReadsAreLogged(t *testing.T) {
	var out bytes.Buffer
	e := &Engine{host: new(outbox), log: slog.New(slog.NewTextHandler(&out, nil)), status: core.Status{Role: core.Leader, Term: 2}, now: 1}
	for range 3 {
		f := &fill{err: syscall.EIO, msg: core.Message{Kind: core.MsgAppend, Term: 2, To: "b"}}
		f.finish(e)
	}
	if log := out.String(); strings.Count(log, "input/output error") != 1 || !strings.Contains(log, "server=b") {
		t.Errorf("the log says %q", log)
	}
	out.Reset()
	for _, err := range []error{wal.ErrCompacted, wal.ErrBeyondEnd, wal.ErrNoSnapshot} {
		e.now += 2 * readWarnEvery
		(&fill{err: err, msg: core.Message{Kind: core.MsgAppend, Term: 2, To: "b"}}).finish(e)
	}
	if out.Len() > 0 {
		t.Errorf("what is gone is no failure, but the log says %q", out.String())
	}
}
