package consensus

import (
	"testing"

	"muster/consensus/core"
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
			f := &fill{ok: tc.read, msg: core.Message{Kind: core.MsgAppend, Term: 2, To: "b"}}
			f.finish(e)
			if len(host.sent) != tc.sent {
				t.Errorf("%d messages left, want %d", len(host.sent), tc.sent)
			}
		})
	}
}
