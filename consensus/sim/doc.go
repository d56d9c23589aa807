// Package sim runs a whole Raft cluster in one goroutine, in simulated time,
// from one seed.
//
// Each server is the shipped consensus.Engine over the shipped log on an
// in-memory file system. Only what an Engine's Host stands for is simulated: the
// network loses, delays, doubles and reorders messages and is cut in one
// direction or both; each lane of work takes its time, so that a disk may be
// slow or stall, or be filled by others; servers crash in the middle of a write, restart, pause, and
// have clocks that run apart. Clients write, read through ReadIndex on any
// server, and give up; an operator changes the membership and moves the
// leadership. The same seed gives the same run: its trace has the same hash.
//
// After every step the invariants of checker.go hold or the run ends with the
// step that broke one. A run has two phases: faults with safety checked; then
// one majority is healed, and it must elect, commit and agree in bounded time.
//
// To replay a failing seed with its trace:
//
//	go test ./consensus/sim -run TestSeeds -seed=N -v
//
// What happens below a Sim uses no goroutine, no clock and no map order; a test
// compares two runs of a seed.
package sim
