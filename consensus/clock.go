package consensus

import "math/rand/v2"

func runtimeRand(n uint64) uint64 { return rand.Uint64N(n) }
