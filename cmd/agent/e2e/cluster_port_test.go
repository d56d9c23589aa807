package e2e

import (
	wire "encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
)

// raftFirstByte opens a Raft stream on the cluster port; see the package
// documentation of consensus/transport for this and what follows it.
const raftFirstByte = 0xC3

// Property 43: whoever connects to the cluster port and then says nothing, or
// only a little, is cut off, and a thousand of them from one machine take no
// place from anyone else.
func TestClusterPort_BoundsStrangers(t *testing.T) {
	c := newCluster(t)
	servers := c.servers(3, "-log-level", "info")
	for _, s := range servers {
		s.start()
	}
	waitMembers(t, servers, 3)
	leader := leaderOf(servers, servers[0])
	before := openFiles(t, leader)
	for what, begin := range map[string]string{
		"silent": "", "half a Raft hello": string([]byte{raftFirstByte, 0, 0}), "half a request": "GET / HT",
	} {
		dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.subnet + "200")}}
		var conns []net.Conn
		for range 1000 {
			conn, err := dialer.Dial("tcp", leader.addr+":8300")
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
			_, _ = io.WriteString(conn, begin) // it may have been closed already
		}
		eventually(t, 5*time.Second, what+": no more than a few hundred are held", func() error {
			if n := openFiles(t, leader) - before; n > 300 {
				return fmt.Errorf("%d", n)
			}
			return nil
		})
		if !leader.tryCatalogRegister("meanwhile") {
			t.Errorf("%s: a write fails while they are open", what)
		}
		for _, conn := range conns {
			_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
			if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: a connection is still open after 30 s", what)
			}
			conn.Close()
		}
	}
	eventually(t, 10*time.Second, "as many open files as before", func() error {
		if n := openFiles(t, leader) - before; n > 8 {
			return fmt.Errorf("%d more", n)
		}
		return nil
	})
}

// openFiles counts the file descriptors of an agent.
func openFiles(t testing.TB, a *agent) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", a.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// Property 44: a stream of another cluster, protocol version, role or to another
// server is refused before any of its messages touches Raft.
func TestClusterPort_RefusesForeignStreams(t *testing.T) {
	c := newCluster(t)
	s := c.servers(1)[0].start()
	s.waitLeader()
	self, err := s.consul().Agent().Self()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := self["Config"]["NodeID"].(string)
	term := raftTerm(t, s)
	const stranger = "99999999-8888-7777-6666-555555555555"
	for what, hello := range map[string][]any{
		"protocol": {2, "", stranger, id, "server", 1},
		"cluster":  {1, "another-cluster", stranger, id, "server", 1},
		"server":   {1, "", stranger, stranger, "server", 1},
		"role":     {1, "", stranger, id, "client", 1},
		"lane":     {1, "", stranger, id, "server", 7},
		"itself":   {1, "", id, id, "server", 1},
	} {
		conn, err := net.Dial("tcp", s.addr+":8300")
		if err != nil {
			t.Fatal(err)
		}
		// The message behind the hello would raise the term of whoever heard it.
		voteRequest := []any{1, 1000, 0, 0, nil, 0, 0, false, 0, 0, 0, 1, nil, 0, nil, false, 0, 0, false}
		stream := append([]byte{raftFirstByte}, frame(t, hello)...)
		for kind := range 12 {
			voteRequest[0] = kind
			stream = append(stream, frame(t, voteRequest)...)
		}
		if _, err := conn.Write(stream); err != nil {
			t.Fatal(err)
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		answer, err := io.ReadAll(conn)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a stream with a wrong %s is kept open", what)
		}
		if code := refusal(answer); code == 0 {
			t.Errorf("a stream with a wrong %s is answered with %q, %v; want a refusal", what, answer, err)
		}
		conn.Close()
	}
	if now := raftTerm(t, s); now != term {
		t.Errorf("the term went from %s to %s", term, now)
	}
	if _, _, metrics := s.get("/v1/agent/metrics?format=prometheus"); strings.Contains(metrics, "muster_raft_transport_received_total{") {
		t.Error("a message of a refused stream was received")
	}
	if !s.tryCatalogRegister("after") {
		t.Error("no write is taken any more")
	}
}

// frame is a msgpack array behind its length.
func frame(t testing.TB, array []any) []byte {
	t.Helper()
	handle := &codec.MsgpackHandle{WriteExt: true}
	var body []byte
	if err := codec.NewEncoderBytes(&body, handle).Encode(array); err != nil {
		t.Fatal(err)
	}
	return append(wire.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// refusal is the code in the reply to a hello, 0 for a welcome or none.
func refusal(answer []byte) int64 {
	if len(answer) < 4 {
		return 0
	}
	var reply []any
	if err := codec.NewDecoderBytes(answer[4:], &codec.MsgpackHandle{}).Decode(&reply); err != nil || len(reply) < 4 {
		return 0
	}
	switch code := reply[3].(type) {
	case int64:
		return code
	case uint64:
		return int64(code)
	}
	return 0
}
