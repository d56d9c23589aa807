//go:build !race

package sim

const budget = 1
