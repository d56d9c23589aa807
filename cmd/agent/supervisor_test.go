package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"muster/agent/config"
)

// fakeAgent runs until its context ends or it is told to end.
type fakeAgent struct {
	end      chan error
	leave    func(context.Context) error
	stubborn bool // doesn't end with its context
	calls    chan string
}

func (f *fakeAgent) Run(ctx context.Context) error {
	if f.stubborn {
		return <-f.end
	}
	select {
	case err := <-f.end:
		return err
	case <-ctx.Done():
		return nil
	}
}

func (f *fakeAgent) Reload(c *config.Config) error {
	f.calls <- "reload " + c.NodeName
	return nil
}

func (f *fakeAgent) Leave(ctx context.Context) error {
	f.calls <- "leave"
	if f.leave != nil {
		return f.leave(ctx)
	}
	return nil
}

// supervised is a supervisor that runs in a goroutine.
type supervised struct {
	agent   *fakeAgent
	signals chan os.Signal
	ended   chan error
	log     *bytes.Buffer // read after it has ended
}

func supervise(t testing.TB, agent *fakeAgent, cfg config.Config, load func() (*config.Config, error)) *supervised {
	t.Helper()
	agent.end, agent.calls = make(chan error, 1), make(chan string, 8)
	s := &supervised{agent, make(chan os.Signal), make(chan error, 1), &bytes.Buffer{}}
	sup := supervisor{agent: agent, cfg: &cfg, load: load, signals: s.signals, logger: slog.New(slog.NewTextHandler(s.log, nil))}
	go func() { s.ended <- sup.run(t.Context()) }()
	return s
}

// exitCode waits for the end.
func (s *supervised) exitCode(t testing.TB) int {
	t.Helper()
	select {
	case err := <-s.ended:
		if coder := cli.ExitCoder(nil); errors.As(err, &coder) {
			return coder.ExitCode()
		} else if err != nil {
			t.Fatal(err)
		}
		return exitOK
	case <-time.After(10 * time.Second):
		t.Fatal("the supervisor still runs")
		return -1
	}
}

func (s *supervised) left() bool {
	select {
	case call := <-s.agent.calls:
		return call == "leave"
	default:
		return false
	}
}

func TestSupervisor_LeavesAsTheConfigurationSays(t *testing.T) {
	for _, tc := range []struct {
		signal os.Signal
		cfg    config.Config
		leaves bool
	}{
		{os.Interrupt, config.Config{SkipLeaveOnInterrupt: true}, false},
		{os.Interrupt, config.Config{}, true},
		{syscall.SIGTERM, config.Config{}, false},
		{syscall.SIGTERM, config.Config{LeaveOnTerminate: true}, true},
	} {
		s := supervise(t, &fakeAgent{}, tc.cfg, nil)
		s.signals <- tc.signal
		if code := s.exitCode(t); code != exitOK {
			t.Errorf("%v with %+v: exit code %d", tc.signal, tc.cfg, code)
		}
		if left := s.left(); left != tc.leaves {
			t.Errorf("%v: left %v, want %v", tc.signal, left, tc.leaves)
		}
	}
}

func TestSupervisor_EndsAtOnceAtASecondSignal(t *testing.T) {
	block := make(chan struct{})
	defer close(block)
	agent := &fakeAgent{leave: func(context.Context) error { <-block; return nil }}
	s := supervise(t, agent, config.Config{LeaveOnTerminate: true}, nil)
	s.signals <- syscall.SIGTERM
	s.signals <- syscall.SIGHUP // is no reason to hurry
	s.signals <- syscall.SIGTERM
	if code := s.exitCode(t); code != exitFailed {
		t.Errorf("exit code %d", code)
	}

	stubborn := &fakeAgent{stubborn: true}
	s = supervise(t, stubborn, config.Config{}, nil)
	s.signals <- syscall.SIGTERM
	s.signals <- os.Interrupt
	if code := s.exitCode(t); code != exitFailed {
		t.Errorf("exit code %d of an agent that doesn't stop", code)
	}
	stubborn.end <- nil
}

func TestSupervisor_EndsWhenTheAgentDoes(t *testing.T) {
	s := supervise(t, &fakeAgent{}, config.Config{}, nil)
	s.agent.end <- nil // it has left, by the API
	if code := s.exitCode(t); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	s = supervise(t, &fakeAgent{}, config.Config{}, nil)
	s.agent.end <- errors.New("the disk is on fire")
	if code := s.exitCode(t); code != exitFailed || !strings.Contains(s.log.String(), "the disk is on fire") {
		t.Errorf("exit code %d, log %s", code, s.log)
	}
}

func TestSupervisor_LeavingThatFailsStillEnds(t *testing.T) {
	s := supervise(t, &fakeAgent{leave: func(context.Context) error { return io.ErrClosedPipe }}, config.Config{LeaveOnTerminate: true}, nil)
	s.signals <- syscall.SIGTERM
	if code := s.exitCode(t); code != exitOK || !strings.Contains(s.log.String(), io.ErrClosedPipe.Error()) {
		t.Errorf("exit code %d, log %s", code, s.log)
	}
}

func TestSupervisor_ReloadsAndObeysWhatItRead(t *testing.T) {
	next := &config.Config{NodeName: "reloaded", LeaveOnTerminate: true}
	var fault error
	s := supervise(t, &fakeAgent{}, config.Config{}, func() (*config.Config, error) { return next, fault })
	s.signals <- syscall.SIGHUP
	if call := <-s.agent.calls; call != "reload reloaded" {
		t.Errorf("called %s", call)
	}
	fault = errors.New("invalid config key servr")
	s.signals <- syscall.SIGHUP // goes on as before
	s.signals <- syscall.SIGTERM
	if code := s.exitCode(t); code != exitOK || !s.left() || !strings.Contains(s.log.String(), "invalid config key servr") {
		t.Errorf("exit code %d, log %s", code, s.log)
	}
}
