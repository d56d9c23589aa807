// Package configapi holds the rows of config entries, which say how services and the
// mesh between them are to behave. What an entry may say is catalog/configentry's.
package configapi
