package sim

import (
	"math/rand/v2"

	"muster/consensus"
)

// Passenger is a second replicated state machine that rides along with the
// simulator's own: each write of a client carries a command for it too, and each
// snapshot its state. A test outside brings what the package itself must not
// import. Its methods run in the goroutine of the run.
type Passenger interface {
	// Command draws a command.
	Command(r *rand.Rand) []byte
	// Board gives the empty state machine of a server, by its number, that is
	// about to start; Leave says that this server is gone.
	Board(server int) consensus.FSM
	Leave(server int)
	// Serving says, after each turn of a server that answers stale reads, whether it
	// is alone: it has known no leader for as long as it must look for one.
	Serving(server int, alone bool)
	// Asked is called when a linearizable read begins. What it returns is given
	// to Answered, with the server on which the read may look now.
	Asked() any
	Answered(server int, asked any)
	// Finish is called once the healed cluster has agreed. Whatever Err says
	// then, or after any step, ends the run.
	Finish()
	Err() error
}
