package catalog

// Batch carries out commands of one agent about its own services and checks, in
// their order. Each is refused by itself, or dropped as late, as if it were an
// entry of its own. Its answer's value is a []Result, one for each.
type Batch struct {
	Commands []Owned
}

// Op implements Command.
func (*Batch) Op() Op { return OpBatch }

// Owned is a command of a Batch: one of its fields is set.
type Owned struct {
	Register   *Register   `codec:",omitempty"`
	Deregister *Deregister `codec:",omitempty"`
}

// BatchOf makes a batch of *Register and *Deregister commands, nil if there is any other.
func BatchOf(cmds []Command) *Batch {
	b := &Batch{Commands: make([]Owned, len(cmds))}
	for i, cmd := range cmds {
		switch cmd := cmd.(type) {
		case *Register:
			b.Commands[i].Register = cmd
		case *Deregister:
			b.Commands[i].Deregister = cmd
		default:
			return nil
		}
	}
	return b
}

// Command gives the command that is set, nil if none is.
func (o Owned) Command() Command {
	switch {
	case o.Register != nil:
		return o.Register
	case o.Deregister != nil:
		return o.Deregister
	}
	return nil
}
