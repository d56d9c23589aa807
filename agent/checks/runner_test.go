package checks_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"muster/agent/checks"
	"muster/catalog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// report is one call of Report.
type report struct{ id, status, output string }

func (r report) String() string { return fmt.Sprintf("%s %s %q", r.id, r.status, r.output) }

// run starts a runner whose checks are first asked without delay, and ends it
// with the test.
func run(t *testing.T) (*checks.Runner, <-chan report) {
	t.Helper()
	reports := make(chan report, 100)
	r := checks.NewRunner(checks.Config{
		UserAgent: "Consul Health Check",
		Report:    func(id, status, output string) { reports <- report{id, status, output} },
		Jitter:    func(time.Duration) time.Duration { return 0 },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return r, reports
}

func add(t *testing.T, r *checks.Runner, d checks.Definition) {
	t.Helper()
	if err := r.Add(d, ""); err != nil {
		t.Fatalf("Add(%s): %v", d.CheckID, err)
	}
}

// next waits for a report.
func next(t *testing.T, reports <-chan report) report {
	t.Helper()
	select {
	case r := <-reports:
		return r
	case <-time.After(20 * time.Second):
		t.Fatal("no report within 20 s")
		return report{}
	}
}

// once runs a definition until its first report.
func once(t *testing.T, d checks.Definition) report {
	t.Helper()
	r, reports := run(t)
	d.CheckID = "c"
	if d.Interval == 0 {
		d.Interval = time.Hour
	}
	add(t, r, d)
	return next(t, reports)
}

func want(t *testing.T, got report, status, output string) {
	t.Helper()
	if got.status != status || got.output != output {
		t.Errorf("got %s %q\nwant %s %q", got.status, got.output, status, output)
	}
}

func TestTTL_ExpiresWithTheLastOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, reports := run(t)
		add(t, r, checks.Definition{CheckID: "c", TTL: 10 * time.Second})
		start := time.Now()
		want(t, <-reports, catalog.StatusCritical, "TTL expired")
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("expired after %s, want 10s", d)
		}
		if err := r.SetTTL("c", catalog.StatusPassing, "fine"); err != nil {
			t.Fatal(err)
		}
		want(t, <-reports, catalog.StatusPassing, "fine")
		start = time.Now()
		want(t, <-reports, catalog.StatusCritical, "TTL expired (last output before timeout follows): fine")
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("expired %s after the report, want 10s", d)
		}
	})
}

func TestTTL_StaysWhileReportsCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, reports := run(t)
		add(t, r, checks.Definition{CheckID: "c", TTL: 10 * time.Second})
		for range 50 {
			time.Sleep(9 * time.Second)
			if err := r.SetTTL("c", catalog.StatusWarning, "so so"); err != nil {
				t.Fatal(err)
			}
			want(t, <-reports, catalog.StatusWarning, "so so")
		}
		select {
		case got := <-reports:
			t.Errorf("unexpected report: %v", got)
		default:
		}
	})
}

func TestTTL_CutsOutputAndKeepsItValid(t *testing.T) {
	r, reports := run(t)
	add(t, r, checks.Definition{CheckID: "c", TTL: time.Hour, OutputMaxSize: 5})
	if err := r.SetTTL("c", catalog.StatusPassing, "abcdéfgh"); err != nil {
		t.Fatal(err)
	}
	want(t, next(t, reports), catalog.StatusPassing, "abcd\uFFFD ... (captured 5 of 9 bytes)")
}

// A check's own bound lowers the agent's, and never raises it.
func TestTTL_CutsOutputToTheLowerBound(t *testing.T) {
	for name, c := range map[string]struct{ agent, check, want int }{
		"default":        {0, 0, checks.DefaultOutputMaxSize},
		"the agent's":    {10, 0, 10},
		"check's, lower": {10, 5, 5},
		"check's, above": {10, 5000, 10},
	} {
		var got string
		r := checks.NewRunner(checks.Config{OutputMaxSize: c.agent, Report: func(_, _, output string) { got = output }})
		add(t, r, checks.Definition{CheckID: "c", TTL: time.Hour, OutputMaxSize: c.check})
		if err := r.SetTTL("c", "passing", strings.Repeat("x", 9000)); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(got, "x"); n != c.want {
			t.Errorf("%s: %d bytes kept, want %d", name, n, c.want)
		}
	}
}

func TestSetTTL_RefusesOtherChecksAndStates(t *testing.T) {
	r, _ := run(t)
	add(t, r, checks.Definition{CheckID: "ttl", TTL: time.Hour})
	add(t, r, checks.Definition{CheckID: "tcp", TCP: "127.0.0.1:1", Interval: time.Hour})
	for _, tc := range []struct{ id, status, want string }{
		{"tcp", catalog.StatusPassing, `CheckID "tcp" does not have associated TTL`},
		{"none", catalog.StatusPassing, `CheckID "none" does not have associated TTL`},
		{"ttl", "bogus", `Invalid check status: 'bogus'`},
	} {
		if err := r.SetTTL(tc.id, tc.status, ""); err == nil || err.Error() != tc.want {
			t.Errorf("SetTTL(%s, %s) = %v, want %s", tc.id, tc.status, err, tc.want)
		}
	}
}

func TestRemove_NoReportFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, reports := run(t)
		add(t, r, checks.Definition{CheckID: "c", TTL: time.Second})
		r.Remove("c")
		r.Remove("c") // again is no error
		time.Sleep(time.Minute)
		select {
		case got := <-reports:
			t.Errorf("report after Remove: %v", got)
		default:
		}
	})
}

func TestAdd_BeforeRunWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []report
		r := checks.NewRunner(checks.Config{Report: func(id, status, output string) { got = append(got, report{id, status, output}) }})
		add(t, r, checks.Definition{CheckID: "c", TTL: time.Second})
		time.Sleep(time.Minute)
		if len(got) > 0 {
			t.Fatalf("reports before Run: %v", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if err := r.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || got[0].status != catalog.StatusCritical {
			t.Errorf("got %v, want one expiry", got)
		}
		add(t, r, checks.Definition{CheckID: "late", TTL: time.Second}) // starts nothing
		time.Sleep(time.Minute)
		if len(got) != 1 {
			t.Errorf("reports after Run: %v", got[1:])
		}
	})
}
