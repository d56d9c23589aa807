package dns_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	mdns "github.com/miekg/dns"
	"go.uber.org/goleak"

	"muster/agent/dns"
)

var (
	rewrite = flag.Bool("rewrite", false, "rewrite the answers in testdata")
	// Consul itself can be asked the same: -consul 127.0.0.1:8500,127.0.0.1:8600.
	consul = flag.String("consul", "", "HTTP and DNS address of an empty Consul agent to compare testdata with")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A table is a file of lines:
//
//	config {…}     fields of Config that differ from the defaults
//	register {…}   what PUT /v1/catalog/register takes
//	query {…}      what POST /v1/query takes
//	ask NAME TYPE  a question; then: tcp, edns=BYTES, norecurse, subnet=CIDR,
//	               class=CH, opcode=NOTIFY, ednsversion=1, or count to see only
//	               how many records there are
//	unlike Consul: why the answer to the question above is not Consul's
//
// and below each question, indented, the answer. Records are sorted within their
// section, as their order is random; the SOA's serial is the time and shown as 0.
func TestTables(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { walkTable(t, file) })
	}
}

func walkTable(t *testing.T, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cfg, store := dns.DefaultConfig(), newStore(t)
	handler, err := dns.New(cfg, store, dns.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(handler.Close)
	addr := serve(t, handler)
	var out strings.Builder
	asked := ""
	compare := *consul != "" && !bytes.Contains(text, []byte("\nconfig "))
	theirs := ""
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "    ") {
			continue
		}
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word == "unlike" {
			theirs = ""
		}
		if theirs != "" {
			t.Errorf("%s: ours\n%s", asked, theirs)
			theirs = ""
		}
		out.WriteString(line)
		switch word {
		case "config":
			if err := json.Unmarshal([]byte(rest), &cfg); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if err := handler.Reload(cfg); err != nil {
				t.Fatal(err)
			}
		case "register":
			store.register(rest)
			if compare {
				tellConsul(t, http.MethodPut, "/v1/catalog/register", rest)
			}
		case "entry":
			store.entry(rest)
			if compare {
				tellConsul(t, http.MethodPut, "/v1/config", rest)
			}
		case "query":
			store.query(rest)
			if compare {
				tellConsul(t, http.MethodPost, "/v1/query", rest)
			}
		case "ask":
			asked = rest
			answer := ask(t, addr, rest)
			out.WriteString(answer)
			if compare {
				if their := ask(t, strings.Split(*consul, ",")[1], rest); their != answer {
					theirs = answer + "  Consul:\n" + their
				}
			}
		}
	}
	if theirs != "" {
		t.Errorf("%s: ours\n%s", asked, theirs)
	}
	switch {
	case *rewrite:
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	case out.String() != string(text):
		t.Errorf("%s is not what is answered (go test ./agent/dns -run Tables -rewrite; look at the difference):\n%s", file, diff(string(text), out.String()))
	}
}

// diff shows the lines that differ.
func diff(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	var b strings.Builder
	for i := range max(len(w), len(g)) {
		switch {
		case i >= len(w):
			fmt.Fprintf(&b, "+%s\n", g[i])
		case i >= len(g):
			fmt.Fprintf(&b, "-%s\n", w[i])
		case w[i] != g[i]:
			fmt.Fprintf(&b, "line %d\n-%s\n+%s\n", i+1, w[i], g[i])
			return b.String() + "…"
		}
	}
	return b.String()
}

func tellConsul(t *testing.T, method, path, body string) {
	t.Helper()
	req, err := http.NewRequest(method, "http://"+strings.Split(*consul, ",")[0]+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("Consul does not take %s: %s", body, resp.Status)
	}
}

// ask asks what a line of a table says, and gives the answer as text.
func ask(t testing.TB, addr, line string) string {
	t.Helper()
	req, network, show := question(t, line)
	client := mdns.Client{Net: network, UDPSize: mdns.MaxMsgSize - 1}
	resp, _, err := client.Exchange(req, addr)
	if err != nil {
		return "    " + err.Error() + "\n"
	}
	return show(resp)
}

// question is what a line of a table asks, over which network, and how its answer is
// to be shown.
func question(t testing.TB, line string) (req *mdns.Msg, network string, _ func(*mdns.Msg) string) {
	t.Helper()
	words := strings.Fields(line)
	req = new(mdns.Msg)
	qtype, ok := mdns.StringToType[words[1]]
	if !ok {
		t.Fatalf("%s: no such type", line)
	}
	req.SetQuestion(words[0], qtype)
	network = "udp"
	show := show
	for _, w := range words[2:] {
		option, value, _ := strings.Cut(w, "=")
		switch option {
		case "count":
			show = count
		case "tcp":
			network = "tcp"
		case "norecurse":
			req.RecursionDesired = false
		case "class":
			req.Question[0].Qclass = mdns.StringToClass[value]
		case "opcode":
			req.Opcode = mdns.StringToOpcode[value]
		case "edns":
			size, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			req.SetEdns0(uint16(size), false)
		case "ednsversion":
			version, err := strconv.Atoi(value)
			if err != nil {
				t.Fatal(err)
			}
			req.SetEdns0(1232, false)
			req.IsEdns0().SetVersion(uint8(version))
		case "subnet":
			ip, network, err := net.ParseCIDR(value)
			if err != nil {
				t.Fatal(err)
			}
			ones, _ := network.Mask.Size()
			req.SetEdns0(1232, false)
			req.IsEdns0().Option = []mdns.EDNS0{&mdns.EDNS0_SUBNET{
				Code: mdns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(ones), SourceScope: 24, Address: ip}}
		default:
			t.Fatalf("%s: what is %s?", line, w)
		}
	}
	return req, network, show
}

// count gives how many records of each type a message has.
func count(m *mdns.Msg) string {
	var b strings.Builder
	fmt.Fprintf(&b, "    %s tc=%t", mdns.RcodeToString[m.Rcode], m.Truncated)
	for _, section := range [][]mdns.RR{m.Answer, m.Ns, m.Extra} {
		byType := map[string]int{}
		for _, rr := range section {
			byType[mdns.TypeToString[rr.Header().Rrtype]]++
		}
		fmt.Fprintf(&b, " %v", byType)
	}
	return b.String() + "\n"
}

// show gives a message as the tables have it.
func show(m *mdns.Msg) string {
	var b strings.Builder
	b.WriteString("    " + mdns.RcodeToString[m.Rcode])
	for _, f := range []struct {
		set  bool
		name string
	}{{m.Authoritative, "aa"}, {m.Truncated, "tc"}, {m.RecursionDesired, "rd"}, {m.RecursionAvailable, "ra"}} {
		if f.set {
			b.WriteString(" " + f.name)
		}
	}
	b.WriteString("\n")
	for _, section := range []struct {
		name string
		rrs  []mdns.RR
	}{{"", m.Answer}, {"authority ", m.Ns}, {"extra ", m.Extra}} {
		var lines []string
		for _, rr := range section.rrs {
			if soa, ok := rr.(*mdns.SOA); ok {
				soa.Serial = 0
			}
			text := strings.Join(strings.Fields(rr.String()), " ")
			text = strings.TrimPrefix(text, ";; OPT PSEUDOSECTION: ")
			lines = append(lines, "    "+section.name+text+"\n")
		}
		slices.Sort(lines)
		b.WriteString(strings.Join(lines, ""))
	}
	return b.String()
}
