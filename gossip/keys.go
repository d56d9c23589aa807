package gossip

import (
	"context"
	"fmt"

	"github.com/hashicorp/serf/serf"
)

// KeyAction is what the members of a pool are asked to do with their keys.
type KeyAction int

// The actions, in the order in which a key is replaced.
const (
	ListKeys   KeyAction = iota // tell which keys they have
	InstallKey                  // take a further key, to decrypt with
	UseKey                      // encrypt with a key that they have
	RemoveKey                   // forget a key that they don't encrypt with
)

// MaxRelayFactor bounds through how many others a member may answer as well.
const MaxRelayFactor = 5

// KeyReport is what the members of a pool answered.
type KeyReport struct {
	Members  int               // how many were asked: all that live
	Messages map[string]string // of those that had something to say, by name
	Keys     map[string]int    // base64 of each key to how many have it; of ListKeys only
	Primary  map[string]int    // base64 of each key to how many encrypt with it; of ListKeys only
}

// Keys asks all living members, this agent among them, to do something with their
// keys, and waits until all have answered or the time is over that they have for it:
// a few seconds, by the size of the pool. Members write what they change to their
// keyring files. It fails where a member could not do it or did not answer; the
// report says then what the others did. Each member also answers by way of
// relays others, at most MaxRelayFactor. If ctx ends first, what was asked goes
// on by itself.
func (p *Pool) Keys(ctx context.Context, action KeyAction, key string, relays int) (KeyReport, error) {
	if relays < 0 || relays > MaxRelayFactor {
		return KeyReport{}, fmt.Errorf("gossip: a relay factor of %d is not within 0 and %d", relays, MaxRelayFactor)
	}
	type outcome struct {
		report *serf.KeyResponse
		err    error
	}
	done := make(chan outcome, 1)
	err := p.call(func() {
		report, err := p.askKeys(action, key, &serf.KeyRequestOptions{RelayFactor: uint8(relays)})
		done <- outcome{report, err}
	})
	if err != nil {
		return KeyReport{}, err
	}
	select {
	case o := <-done:
		return KeyReport{o.report.NumNodes, o.report.Messages, o.report.Keys, o.report.PrimaryKeys}, o.err
	case <-ctx.Done():
		return KeyReport{}, fmt.Errorf("gossip: ask for keys: %w", ctx.Err())
	}
}

func (p *Pool) askKeys(action KeyAction, key string, o *serf.KeyRequestOptions) (*serf.KeyResponse, error) {
	keys := p.serf.KeyManager()
	switch action {
	case InstallKey:
		return keys.InstallKeyWithOptions(key, o)
	case UseKey:
		return keys.UseKeyWithOptions(key, o)
	case RemoveKey:
		return keys.RemoveKeyWithOptions(key, o)
	default:
		return keys.ListKeysWithOptions(o)
	}
}
