//go:build race

package sim

// budget divides the default number of seeds: one goroutine needs no race
// detector, so a race run only shows that it finds none.
const budget = 50
