// Package configapi holds the rows of config entries, which say how services and the
// mesh between them are to behave. What an entry may say is catalog/configentry's.
//
// An intention is no entry of its own but a source of its destination's
// service-intentions. To change one is to replace that entry, if it still is as it was.
package configapi
