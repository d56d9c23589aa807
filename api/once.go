package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"strings"

	"muster/catalog"
)

const (
	// onceHeader has a retry answered as the request that it repeats
	// (https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/).
	onceHeader = "Idempotency-Key"
	maxOnceKey = 255 // bytes of a key
)

// takesOnceKey says whether a key makes a difference to the row's requests: those of
// the others are about one agent, or change nothing when they are repeated.
func (r *Route) takesOnceKey() bool { return r.Command != nil || r.Edit != nil }

// onceKey reads the header, "" where there is none.
func onceKey(h http.Header) (string, error) {
	given := h[textproto.CanonicalMIMEHeaderKey(onceHeader)]
	if len(given) == 0 {
		return "", nil
	}
	key := given[0]
	printable := !strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' })
	if len(given) > 1 || key == "" || len(key) > maxOnceKey || !printable {
		return "", invalid("the %s header must be given once, with 1 to %d printable ASCII characters", onceHeader, maxOnceKey)
	}
	return key, nil
}

// once is the command that carries out another under the request's key, without
// that; nil where the request has none. Whose key it is goes by the token, which
// is not kept itself.
func (c *call) once() *catalog.Once {
	if c.onceKey == "" {
		return nil
	}
	token := sha256.Sum256([]byte(c.req.Token))
	return &catalog.Once{Caller: hex.EncodeToString(token[:]), Key: c.onceKey, Hash: c.hash()}
}

// hash tells requests apart: by method, path, parameters but for the token, and body.
func (c *call) hash() []byte {
	query := maps.Clone(c.req.Query)
	query.Del("token")
	h := sha256.New()
	fmt.Fprintf(h, "%s %s?%s\n", c.r.Method, c.r.URL.EscapedPath(), query.Encode())
	h.Write(c.req.Body)
	return h.Sum(nil)
}

// proposeEdit has a command committed that a row's Edit made, under the request's key
// if it has one. The answer is kept too: what a retry's Edit finds is what the first has left.
func (c *call) proposeEdit(ctx context.Context, cmd catalog.Command, answer any) (result catalog.Result, err error) {
	once := c.once()
	if once == nil {
		return c.s.propose(ctx, cmd)
	}
	once.Edited = true
	if answer != nil {
		var text bytes.Buffer
		e := json.NewEncoder(&text)
		e.SetEscapeHTML(false)
		if err := e.Encode(answer); err != nil {
			return result, err
		}
		once.Answer = bytes.TrimSpace(text.Bytes())
	}
	if once.Inner, err = catalog.EncodeCommand(cmd); err != nil {
		return result, err
	}
	return c.s.propose(ctx, once)
}
