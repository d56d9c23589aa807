package catalog

// RestoreStep is a step of a restore. Numbers are part of the log format.
type RestoreStep uint8

// The steps of a restore.
const (
	RestoreBegin   RestoreStep = 1 // takes the place of a restore that is under way
	RestoreLoad    RestoreStep = 2 // gives the next part
	RestoreInstall RestoreStep = 3 // puts what was loaded in the place of the catalog
	RestoreAbandon RestoreStep = 4 // forgets what was loaded
)

// Restore is one step on the way to a catalog from an archive. The parts go through
// the log like all else, and are loaded beside the catalog, which only the last step
// touches: it replaces nodes, services, checks, coordinates, keys and values,
// sessions, lock-delays, prepared queries, config entries, the autopilot's settings
// and, if the archive has one, the certificate authority, all at its own index. A restore that another has taken the place of, or of which a
// part was refused, is no more.
//
// Result.Value of RestoreInstall is the catalog's index after it, a uint64.
type Restore struct {
	Step RestoreStep
	ID   string // of the restore, drawn by whoever began it
	Part uint64 // RestoreLoad: which part, from 1; RestoreInstall: how many there were
	Data []byte // RestoreLoad: records of a snapshot, cut anywhere
}

// Op implements Command.
func (*Restore) Op() Op { return OpRestore }
