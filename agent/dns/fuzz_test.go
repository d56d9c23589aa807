package dns_test

import (
	"encoding/hex"
	"net"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"muster/agent/dns"
)

// recorder is a dns.ResponseWriter that keeps what is written.
type recorder struct {
	mdns.ResponseWriter // nil: what isn't below is not called
	addr                net.Addr
	out                 [][]byte
}

func (r *recorder) LocalAddr() net.Addr  { return r.addr }
func (r *recorder) RemoteAddr() net.Addr { return r.addr }
func (r *recorder) Write(b []byte) (int, error) {
	r.out = append(r.out, append([]byte(nil), b...))
	return len(b), nil
}

// worst is a catalog of what makes trouble in DNS.
func worst(t testing.TB) *store {
	s := newStore(t)
	s.fill("web", 300)
	for _, body := range []string{
		`{"Node":"bad node!","Address":"10.0.0.62","Service":{"Service":"web","ID":"b","Port":99999}}`,
		`{"Node":"` + strings.Repeat("n", 100) + `","Address":"10.0.0.63","Service":{"Service":"web","ID":"c","Port":1}}`,
		`{"Node":"back\\slash.dot","Address":"10.0.0.64","NodeMeta":{"long":"` + strings.Repeat("\\\\", 500) + `"},"Service":{"Service":"web","ID":"d","Port":-1}}`,
		`{"Node":"nowhere","Address":"no address at all","Service":{"Service":"web","ID":"e","Address":"http://a/b"}}`,
		`{"Node":"far","Address":"` + strings.Repeat("a.", 200) + `","Service":{"Service":"odd","ID":"f","Address":"` + strings.Repeat("x", 64) + `"}}`,
		`{"Node":"loop","Address":"b.service.consul","Service":{"Service":"a","ID":"a","Address":"b.service.consul"}}`,
		`{"Node":"loop","Address":"b.service.consul","Service":{"Service":"b","ID":"b","Address":"a.service.consul"}}`,
	} {
		s.register(body)
	}
	return s
}

// FuzzServeDNS: no message makes the handler panic, and whatever it answers is
// one well-formed message that its asker can take.
func FuzzServeDNS(f *testing.F) {
	for _, q := range []struct {
		name  string
		qtype uint16
	}{
		{"web.service.consul.", mdns.TypeSRV}, {"web.service.consul.", mdns.TypeANY}, {"odd.service.consul.", mdns.TypeSRV},
		{"a.service.consul.", mdns.TypeA}, {"back\\\\slash.dot.node.consul.", mdns.TypeANY}, {"_web._tcp.service.dc1.dc.consul.", mdns.TypeSRV},
		{"0a000001.addr.consul.", mdns.TypeA}, {"1.0.0.10.in-addr.arpa.", mdns.TypePTR}, {"consul.", mdns.TypeSOA}, {".", mdns.TypeNS},
	} {
		req := new(mdns.Msg).SetQuestion(q.name, q.qtype)
		req.SetEdns0(1232, true)
		packed, err := req.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed, true)
		f.Add(packed, false)
	}
	cfg := dns.DefaultConfig()
	cfg.AltDomain = "alt.example"
	handler, err := dns.New(cfg, worst(f), dns.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(handler.Close)
	f.Fuzz(func(t *testing.T, packet []byte, tcp bool) {
		req := new(mdns.Msg)
		if req.Unpack(packet) != nil {
			t.Skip() // miekg/dns refuses it before we are called
		}
		w, most := &recorder{addr: &net.UDPAddr{}}, 512
		if opt := req.IsEdns0(); opt != nil {
			most = max(most, int(opt.UDPSize()))
		}
		if tcp {
			w.addr, most = &net.TCPAddr{}, 65535
		}
		handler.ServeDNS(w, req)
		if len(w.out) != 1 {
			t.Fatalf("%d answers", len(w.out))
		}
		resp := new(mdns.Msg)
		if err := resp.Unpack(w.out[0]); err != nil {
			t.Fatalf("the answer is malformed: %v", err)
		}
		// The question itself comes back and may be larger than what is taken.
		if len(w.out[0]) > most && len(resp.Answer)+len(resp.Ns)+len(resp.Extra) > 1 {
			t.Errorf("an answer of %d bytes where %d are taken", len(w.out[0]), most)
		}
		if resp.Id != req.Id || !resp.Response {
			t.Errorf("the answer is to another message: %v", resp.MsgHdr)
		}
	})
}

// Packets that are no messages are answered with an error or not at all, and
// the next question is answered as ever.
func TestMalformedPackets(t *testing.T) {
	handler, err := dns.New(dns.DefaultConfig(), worst(t), dns.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer handler.Close()
	addr := serve(t, handler)
	conn, err := net.Dial("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const header = "12340100" // ID and flags of a query
	for _, tc := range []struct{ what, packet, want string }{
		{"one byte", "00", ""},
		{"half a header", header + "0001", ""},
		{"an answer", "1234800000010000000000000000010001", ""},
		{"a question that is missing", header + "0001000000000000", "FORMERR"},
		{"two questions", header + "0002000000000000" + "0000010001" + "0000010001", "FORMERR"},
		{"no question", header + "0000000000000000", "FORMERR"},
		{"a name that points to itself", header + "0001000000000000" + "c00c00010001", "FORMERR"},
		{"a label past the end", header + "0001000000000000" + "3f616161", "FORMERR"},
		{"an update", "12342800" + "0001000000000000" + "0000060001", "NOTIMP"},
	} {
		packet, err := hex.DecodeString(tc.packet)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(packet); err != nil {
			t.Fatal(err)
		}
		// A good question follows: what comes before its answer is for the bad one.
		good, err := new(mdns.Msg).SetQuestion("nosuch.node.consul.", mdns.TypeA).Pack()
		if err != nil {
			t.Fatal(err)
		}
		good[0], good[1] = 0xab, 0xcd
		if _, err := conn.Write(good); err != nil {
			t.Fatal(err)
		}
		got, answered := "", false
		for wanted := tc.want != ""; !answered || wanted && got == ""; {
			buf := make([]byte, 4096)
			if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			n, err := conn.Read(buf)
			if err != nil {
				t.Fatalf("%s: %v", tc.what, err)
			}
			if buf[0] == 0xab && buf[1] == 0xcd {
				answered = true
			} else if n >= 4 {
				got = mdns.RcodeToString[int(buf[3]&0xf)]
			}
		}
		if got != tc.want {
			t.Errorf("%s: answered %q, want %q", tc.what, got, tc.want)
		}
	}
}
