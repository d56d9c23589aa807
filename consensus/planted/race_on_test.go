//go:build race

package planted

const underRace = true
