//go:build !race

package wal_test

const underRace = false
