//go:build race

package wal_test

// underRace thins out the exhaustive tests, which start no goroutines.
const underRace = true
