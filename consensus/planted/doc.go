// Package planted measures how good the checks of consensus are: it plants known
// bugs into the code and demands that a check finds each.
//
// A planted bug is data: a file of consensus, a text that stands in it exactly
// once, and the text in its place (bugs_test.go). TestPlantedBugs writes the
// changed file to a temporary directory and builds a test binary of the package
// that is to notice with go test -overlay, so that the working tree is never
// touched and nothing in the shipped code knows of it. The binary must then fail
// within its budget of seeds and time. A bug that no check finds fails the test by
// its name, unless it is listed as a known survivor with the reason; a known
// survivor that is found fails it too, so that the list stays true. The checks run
// on the unchanged code first: a check that fails there would find anything.
//
// When code that a planted bug changes is rewritten, the old text is no longer
// found and the test says so: write the same mistake into the new code.
//
//	go test ./consensus/planted -v             the table: finder, seed, time
//	go test ./consensus/planted -bug 11 -v     one bug
//	go test ./consensus/planted -bug 11 -all   one bug against all of its checks
//
// It is skipped with -short and under the race detector, where it would take
// many times as long and show nothing more.
package planted
