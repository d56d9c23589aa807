package sim

import (
	"math/rand/v2"

	"muster/consensus/core"
)

// dice is one stream of chance. Every server, client, link and step of a plan has
// one of its own, so that taking one of them away leaves the draws of the others
// as they were.
type dice struct{ *rand.Rand }

// newDice gives the stream of a part of a run: what it is and which one.
func newDice(seed uint64, part string, which uint64) dice {
	h := newDigest()
	for _, b := range []byte(part) {
		h.add(uint64(b))
	}
	h.add(which)
	return dice{rand.New(rand.NewPCG(seed, uint64(h)))}
}

// between draws a duration from [lo, hi].
func (d dice) between(lo, hi core.Duration) core.Duration {
	if hi <= lo {
		return lo
	}
	return lo + core.Duration(d.Int64N(int64(hi-lo)+1))
}

// around draws an exponentially distributed duration with a mean.
func (d dice) around(mean core.Duration) core.Duration {
	return core.Duration(d.ExpFloat64() * float64(mean))
}

func (d dice) chance(p float64) bool { return p > 0 && d.Float64() < p }

// pick draws one of ns.
func (d dice) pick(ns ...int) int { return ns[d.IntN(len(ns))] }

// digest is a running hash of 64-bit words, FNV-1a in kind.
type digest uint64

func newDigest() digest { return 14695981039346656037 }

func (h *digest) add(words ...uint64) {
	for _, w := range words {
		x := (uint64(*h) ^ w) * 1099511628211
		*h = digest(x ^ x>>29) // or high bits would never reach the low ones
	}
}

func (h *digest) bytes(b []byte) {
	for _, c := range b {
		*h = (*h ^ digest(c)) * 1099511628211
	}
	h.add(uint64(len(b)))
}
