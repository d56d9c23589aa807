package api

import (
	"cmp"
	"context"
	"fmt"

	"muster/catalog"
)

// write answers a Write or a Leading: here if this server leads, else through whoever does.
func (c *call) write() error {
	replica, cluster := c.s.deps.Replica, c.s.deps.Cluster
	if replica == nil {
		return c.forward()
	}
	return c.hold(func(ctx context.Context) error {
		changed := cluster.Changed()
		if replica.IsLeader() {
			return c.commit(ctx)
		}
		addr := cluster.LeaderAddr()
		if addr == "" {
			return cmp.Or(replica.Blocked(), error(errNoLeader))
		}
		// What a command answers when it also reads may be large: its request is passed on.
		if c.row.Command == nil || c.row.MayRead {
			return c.pass(addr)
		}
		return c.commitAt(addr, changed)
	})
}

// readOrWrite answers a row whose command may only read. Any server that has a
// copy of the catalog can tell, and answers what reads.
func (c *call) readOrWrite() (err error) {
	replica := c.s.deps.Replica
	if replica == nil {
		return c.forward()
	}
	if err := c.authorize(); err != nil {
		return err
	}
	if c.cmd, err = c.row.Command(c.req); err != nil {
		return err
	}
	if cmd, ok := c.cmd.(ReadOnly); !ok || !cmd.ReadOnly() {
		return c.write()
	}
	age, err := c.catchUp()
	if err != nil {
		return err
	}
	consistency := c.req.Options.Consistency
	c.req.Read = &ReadState{
		Index:       replica.Store().Index(),
		KnownLeader: consistency != Stale || replica.KnownLeader(),
		LastContact: age,
		Consistency: consistency,
	}
	result := replica.Store().Preview(c.cmd)
	if result.Err != nil {
		return result.Err
	}
	consulHeaders{knownLeader: c.req.Read.KnownLeader, lastContact: age}.setContact(c.w.Header())
	return c.render(c.row.Render(c.req, result.Value))
}

// commit has the row's command committed, or does what the row does on a leader,
// and answers.
func (c *call) commit(ctx context.Context) error {
	if err := c.authorize(); err != nil {
		return err
	}
	if c.row.Lead != nil {
		answer, err := c.row.Lead(c.req)
		if err != nil {
			return err
		}
		return c.render(answer)
	}
	if c.row.Edit != nil {
		return c.edit(ctx)
	}
	cmd, err := c.command()
	if err != nil {
		return err
	}
	return c.tell(c.s.propose(ctx, cmd))
}

// commitAt has the leader at addr commit the row's command, and answers.
func (c *call) commitAt(addr string, changed <-chan struct{}) error {
	if c.hops == 0 {
		return errNoLeader
	}
	if c.authorize() != nil {
		return c.pass(addr) // the leader may have heard of more
	}
	cmd, err := c.command()
	if err != nil {
		return err
	}
	data, err := catalog.EncodeCommand(cmd)
	if err != nil {
		return err
	}
	if len(data) > maxBatched {
		return c.pass(addr)
	}
	return c.tell(c.s.batcher.commit(c.req.ctx, addr, changed, data))
}

// command makes the row's command, to be carried out under the request's key if it
// has one.
func (c *call) command() (cmd catalog.Command, err error) {
	if cmd = c.cmd; cmd == nil {
		if cmd, err = c.row.Command(c.req); err != nil {
			return nil, err
		}
	}
	once := c.once()
	if once == nil {
		return cmd, nil
	}
	once.Inner, err = catalog.EncodeCommand(cmd)
	return once, err
}

// tell answers with what a command gave.
func (c *call) tell(result catalog.Result, err error) error {
	if err == nil {
		err = result.Err
	}
	if err != nil {
		return err
	}
	if c.row.Render != nil {
		return c.render(c.row.Render(c.req, result.Value))
	}
	return c.render(true)
}

// edit has the row's command committed, which is made of what the catalog says, and
// anew as long as somebody else was faster.
func (c *call) edit(ctx context.Context) error {
	replica := c.s.deps.Replica
	for {
		if err := replica.ReadIndex(ctx); err != nil {
			return fmt.Errorf("%w: %w", errNoLeader, err)
		}
		view := replica.Store().View()
		if once := c.once(); once != nil {
			if result, done := view.Outcome(once); done {
				if result.Err != nil {
					return result.Err
				}
				return c.render(result.Value)
			}
		}
		cmd, answer, err := c.row.Edit(view, c.req)
		if err != nil {
			return err
		}
		if cmd == nil {
			return c.render(answer)
		}
		result, err := c.proposeEdit(ctx, cmd, answer)
		if err == nil {
			err = result.Err
		}
		if err != nil {
			return err
		}
		if result.Value != false {
			return c.render(answer)
		}
	}
}

// propose has a command committed, unless it would change nothing: a linearizable
// read then confirms that, and the log is spared an entry.
func (s *Server) propose(ctx context.Context, cmd catalog.Command) (catalog.Result, error) {
	replica := s.deps.Replica
	if !replica.Store().Preview(cmd).Changed {
		if err := replica.ReadIndex(ctx); err != nil {
			return catalog.Result{}, fmt.Errorf("%w: %w", errNoLeader, err)
		}
		if preview := replica.Store().Preview(cmd); !preview.Changed {
			return preview, nil
		}
	}
	return replica.Propose(ctx, cmd)
}
