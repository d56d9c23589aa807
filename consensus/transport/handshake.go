package transport

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"

	"muster/consensus/core"
)

// Protocol is the version of the wire format that this package speaks.
const Protocol = 1

const (
	roleServer   = "server"
	maxHandshake = 1024 // bytes of a hello or a reply
	maxName      = 256  // bytes of an id in it
)

// The reasons for which an acceptor refuses a stream. Both ends name them: the
// acceptor in its log, the dialer in the error of its attempt.
var (
	ErrWrongProtocol = errors.New("protocol version differs")
	ErrWrongCluster  = errors.New("server belongs to another cluster")
	ErrWrongServer   = errors.New("another server listens at this address")
	ErrWrongRole     = errors.New("only servers take part in Raft")
	ErrWrongLane     = errors.New("unknown lane")
	ErrDuplicateID   = errors.New("two servers have the same id")
)

// joinAnew says what to do about a server of another cluster: mostly one that
// missed a recovery.
const joinAnew = "the one that is in the wrong one, as after a recovery that it missed, can join once it is stopped and you remove its data-dir"

// errCut ends a stream without a reply, as a cut network would.
var errCut = errors.New("peer is not allowed")

// refusals gives each reason its code on the wire: its position plus one.
var refusals = []error{ErrWrongProtocol, ErrWrongCluster, ErrWrongServer, ErrWrongRole, ErrWrongLane, ErrDuplicateID}

type wireHello struct {
	Protocol uint64
	Cluster  string
	From     string
	To       string
	Role     string
	Lane     uint8
}

func (h wireHello) lane() laneKey { return laneKey{core.ServerID(h.From), laneKind(h.Lane)} }

type wireReply struct {
	Protocol uint64
	Cluster  string
	ID       string
	Code     uint8
	Text     string
}

// greet is the dialer's half: it says hello and waits for the reply.
func (t *Transport) greet(conn net.Conn, h wireHello) error {
	conn.SetDeadline(time.Now().Add(t.cfg.HandshakeTimeout))
	defer conn.SetDeadline(time.Time{})
	w := bufio.NewWriterSize(conn, maxHandshake)
	w.WriteByte(FirstByte)
	if err := writeHandshake(w, &h); err != nil {
		return fmt.Errorf("say hello: %w", err)
	}
	r := newFrameReader(conn, maxHandshake, t.cfg.HandshakeTimeout, t.cfg.HandshakeTimeout)
	var reply wireReply
	if err := readHandshake(r, &reply); err != nil {
		return fmt.Errorf("read the reply: %w", err)
	}
	switch {
	case reply.Code != 0 && int(reply.Code) <= len(refusals):
		return fmt.Errorf("refused: %w: %.400q", refusals[reply.Code-1], reply.Text)
	case reply.Code != 0:
		return fmt.Errorf("refused with unknown code %d: %.200q", reply.Code, reply.Text)
	case reply.ID != h.To:
		return fmt.Errorf("%w: wanted %s, found %.64q", ErrWrongServer, h.To, reply.ID)
	case foreign(h.Cluster, reply.Cluster):
		return fmt.Errorf("%w: ours is %s, theirs %.64q; %s", ErrWrongCluster, h.Cluster, reply.Cluster, joinAnew)
	}
	return nil
}

// welcome is the acceptor's half: it reads the hello, judges it, enters the
// stream if it is welcome, and replies.
// No message has been read when it refuses.
func (t *Transport) welcome(r *frameReader) (wireHello, error) {
	var h wireHello
	r.conn.SetDeadline(time.Now().Add(t.cfg.HandshakeTimeout))
	defer r.conn.SetDeadline(time.Time{})
	first, err := r.br.ReadByte()
	if err != nil {
		return h, fmt.Errorf("read the first byte: %w", err)
	}
	if first != FirstByte {
		return h, fmt.Errorf("first byte is 0x%02x, not 0x%02x", first, FirstByte)
	}
	r.max = maxHandshake
	if err := readHandshake(r, &h); err != nil {
		return h, fmt.Errorf("read the hello: %w", err)
	}
	r.max = t.cfg.MaxFrame
	if !t.allowed(core.ServerID(h.From)) {
		return h, errCut
	}

	own := t.cfg.ClusterID()
	reply := wireReply{Protocol: Protocol, Cluster: own, ID: string(t.cfg.ID)}
	refusal := t.judge(h, own)
	if refusal != nil {
		reply.Text = refusal.Error()
		for i, kind := range refusals {
			if errors.Is(refusal, kind) {
				reply.Code = uint8(i + 1)
			}
		}
	}
	if refusal == nil {
		// Before the reply: the peer may open its next stream as soon as it has
		// this one's, and the older must not replace the newer.
		t.enter(h.lane(), r.conn)
	}
	if err := writeHandshake(bufio.NewWriterSize(r.conn, maxHandshake), &reply); err != nil && refusal == nil {
		return h, fmt.Errorf("reply: %w", err)
	}
	return h, refusal
}

// judge says why a stream with this hello may not enter, nil if it may.
func (t *Transport) judge(h wireHello, own string) error {
	switch {
	case h.Protocol != Protocol:
		return fmt.Errorf("%w: here %d, there %d", ErrWrongProtocol, Protocol, h.Protocol)
	case h.Role != roleServer:
		return fmt.Errorf("%w, not role %.64q", ErrWrongRole, h.Role)
	case h.From == "" || len(h.From) > maxName || len(h.Cluster) > maxName:
		return fmt.Errorf("%w: sender's id or cluster id is empty or over-long", ErrWrongServer)
	case foreign(own, h.Cluster):
		return fmt.Errorf("%w: here %.64q, there %.64q; %s", ErrWrongCluster, own, h.Cluster, joinAnew)
	case h.To != string(t.cfg.ID):
		return fmt.Errorf("%w: this is %s, not %.64q", ErrWrongServer, t.cfg.ID, h.To)
	case core.ServerID(h.From) == t.cfg.ID:
		return fmt.Errorf("%w, %s", ErrDuplicateID, t.cfg.ID)
	case h.Lane != uint8(control) && h.Lane != uint8(bulk):
		return fmt.Errorf("%w: %d", ErrWrongLane, h.Lane)
	}
	return nil
}

// foreign says whether two servers are of different clusters. A server that is
// in none yet may talk with any: it is to learn its cluster that way.
func foreign(a, b string) bool { return a != "" && b != "" && a != b }

func writeHandshake(w *bufio.Writer, v any) error {
	var body []byte
	if err := codec.NewEncoderBytes(&body, newHandle(maxHandshake)).Encode(v); err != nil {
		return err
	}
	if len(body) > maxHandshake {
		return fmt.Errorf("handshake of %d bytes is longer than %d", len(body), maxHandshake)
	}
	if err := writeFrame(w, body); err != nil {
		return err
	}
	return w.Flush()
}

// readHandshake reads one frame under the deadline that the caller has set.
func readHandshake(r *frameReader, v any) error {
	body, err := r.body()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		return err
	}
	return newDecoder(maxHandshake).into(body, v)
}
