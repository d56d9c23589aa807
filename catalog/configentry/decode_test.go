package configentry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	consul "github.com/hashicorp/consul/api"

	"muster/catalog"
)

// conversations are lines of a request's body, each followed by what Consul 1.21.4
// keeps of it, or by "!" and what it says is wrong.
func conversations(t testing.TB, give func(body, answer string)) {
	t.Helper()
	data, err := os.ReadFile("testdata/entries.txt")
	if err != nil {
		t.Fatal(err)
	}
	body := ""
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case body == "":
			body = line
		default:
			give(body, line)
			body = ""
		}
	}
}

func TestDecode_KeepsAndRefusesWhatConsulDoes(t *testing.T) {
	n := 0
	conversations(t, func(body, answer string) {
		n++
		e, err := Decode([]byte(body))
		if want, wrong := strings.CutPrefix(answer, "! "); wrong {
			if err == nil {
				t.Errorf("%s\nis kept, want the error\n%s", body, want)
			} else if got := strings.Join(strings.Fields(err.Error()), " "); got != want {
				t.Errorf("%s\nis refused with\n%s, want\n%s", body, got, want)
			} else if k := catalog.KindOf(err); k != catalog.Invalid && k != catalog.Denied {
				t.Errorf("%s is refused with an error of kind %d", body, k)
			}
			return
		}
		if err != nil {
			t.Errorf("%s\nis refused: %v", body, err)
			return
		}
		var want bytes.Buffer
		if err := json.Compact(&want, []byte(answer)); err != nil {
			t.Fatal(err)
		}
		if got, want := sorted(t, e.Body), sorted(t, want.Bytes()); got != want {
			t.Errorf("%s\nis kept as\n%s, want\n%s", body, got, want)
		}
		if again, err := Decode(e.Body); err != nil || !again.Same(e) {
			t.Errorf("%s\nis not kept as it is when it comes again: %v", e.Body, err)
		}
		if _, err := consul.DecodeConfigEntryFromJSON(e.Body); err != nil {
			t.Errorf("Consul's client does not understand %s: %v", e.Body, err)
		}
	})
	if n < 100 {
		t.Errorf("only %d conversations", n)
	}
}

func TestDecode_IsBounded(t *testing.T) {
	unknown := `{"Kind":"mesh"`
	for i := range 1000 {
		unknown += fmt.Sprintf(`,"k%d":1`, i)
	}
	for body, want := range map[string]string{
		`{"Kind":"service-intentions","Name":"x","Sources":[` + strings.Repeat(`{},`, maxValues) + `{}]}`: "more than 65536 values",
		unknown + "}": "1000 errors occurred",
	} {
		_, err := Decode([]byte(body))
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 1000 {
			t.Errorf("%.80s: %.2000v", body, err)
		}
	}
}

func sorted(t *testing.T, data []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func FuzzDecode(f *testing.F) {
	conversations(f, func(body, _ string) { f.Add([]byte(body)) })
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := Decode(body)
		if err != nil {
			return
		}
		again, err := Decode(e.Body)
		if err != nil || !again.Same(e) {
			t.Errorf("%s is kept as %s, which is taken as %+v, %v", body, e.Body, again, err)
		}
	})
}
