// Package ui is the web page of an agent, embedded in the binary.
//
// It is a static page: everything it shows it asks the agent's HTTP API for, in
// the browser, with blocking queries. So it is live, it has no rights that its
// reader hasn't, and the agent keeps nothing for it. The package knows no other
// one; package api serves Handler below Path.
//
// # The page
//
// Its files are plain modules without a build step:
//
//	index.html   landmarks, and the few elements that are always there
//	main.js      what an address (#/services/web) follows, and who leads
//	agent.js     one question to the agent; a blocking query that goes on
//	model.js     answers made into what is shown; knows no document
//	pages.js     the pages, made of the model
//	dom.js       elements, and how a page becomes its next version in place
//
// The lists follow one query, of the nodes with all that is on them. A page of
// one service or node follows that one alone, and a hidden page follows nothing.
//
// # What it shows is not its own
//
// Names, tags and outputs of checks come from whoever may register them. They
// are put on the page as text only and isolated from its writing direction, and
// the Content-Security-Policy allows no script or style but the embedded files,
// so that a service named like markup stays a name.
package ui
