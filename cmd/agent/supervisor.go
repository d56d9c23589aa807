package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"syscall"

	"github.com/urfave/cli/v2"

	"muster/agent/config"
)

// runner is an agent as the supervisor sees it.
type runner interface {
	Run(context.Context) error
	Reload(*config.Config) error
	Leave(context.Context) error
}

// supervisor runs an agent and carries signals to it: SIGHUP reloads; SIGINT and
// SIGTERM end it, after leaving the cluster where the configuration says so; any
// further one of these ends the process at once.
type supervisor struct {
	agent   runner
	cfg     *config.Config
	load    func() (*config.Config, error)
	signals <-chan os.Signal
	logger  *slog.Logger
}

// run returns nil when the agent has ended as it was told to.
func (s *supervisor) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// A second signal returns while the agent still runs: then the process ends
	// under it, which is what was asked for.
	ended := make(chan error, 1)
	go func() { ended <- s.agent.Run(ctx) }()
	s.logger.Info("Muster agent running!")
	for {
		select {
		case err := <-ended:
			return s.last(err)
		case sig := <-s.signals:
			s.logger.Info("caught", "signal", sig)
			if sig == syscall.SIGHUP {
				s.reload()
				continue
			}
			return s.end(ctx, sig, stop, ended)
		}
	}
}

func (s *supervisor) reload() {
	cfg, err := s.load()
	if err == nil {
		err = s.agent.Reload(cfg)
	}
	if err != nil {
		s.logger.Error("reload failed; the agent goes on as before", "error", err)
		return
	}
	s.cfg = cfg
	s.logger.Info("configuration reloaded")
}

// end ends the agent at a signal.
func (s *supervisor) end(ctx context.Context, sig os.Signal, stop context.CancelFunc, ended <-chan error) error {
	leave := s.cfg.LeaveOnTerminate
	if sig == os.Interrupt {
		leave = !s.cfg.SkipLeaveOnInterrupt
	}
	left := make(chan error, 1)
	if leave {
		s.logger.Info("gracefully leaving the cluster; a second signal ends at once")
		go func() { left <- s.agent.Leave(ctx) }()
	} else {
		left <- nil
	}
	for {
		select {
		case err := <-left:
			left = nil
			if err != nil {
				s.logger.Error("leave failed", "error", err)
			}
			stop()
		case err := <-ended:
			return s.last(err)
		case sig := <-s.signals:
			if sig == syscall.SIGHUP {
				continue
			}
			s.logger.Warn("second signal: ending at once", "signal", sig)
			return cli.Exit("", exitFailed)
		}
	}
}

// last logs how the agent ended.
func (s *supervisor) last(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		s.logger.Info("agent stopped")
		return nil
	}
	s.logger.Error("agent failed", "error", err)
	return cli.Exit("", exitFailed)
}
