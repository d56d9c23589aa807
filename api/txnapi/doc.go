// Package txnapi holds the row of transactions: its decoding, what of it is refused
// before it reaches the log, and its answer.
package txnapi
