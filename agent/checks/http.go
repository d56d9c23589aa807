package checks

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"muster/catalog"
)

// maxRedirects is how many redirects an HTTP check follows.
const maxRedirects = 10

// newHTTP makes the probe of an HTTP check: one request; 2xx is passing, 429
// warning, all else critical. Each request has a connection of its own, as the
// question is also whether one can connect. No proxy is used.
func newHTTP(d Definition, cfg Config) probe {
	client := &http.Client{
		Timeout: d.timeout(defaultTimeout),
		Transport: &http.Transport{
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
			TLSClientConfig:        d.tlsConfig(""),
		},
		CheckRedirect: d.checkRedirect,
	}
	return func(ctx context.Context) (string, string) {
		req, err := d.request(ctx, cfg.UserAgent)
		if err != nil {
			return catalog.StatusCritical, err.Error()
		}
		resp, err := client.Do(req)
		if err != nil {
			return catalog.StatusCritical, err.Error()
		}
		defer resp.Body.Close()
		// No more is read than is kept: a body may have no end. What breaks off
		// after the header still has a status.
		body, _ := io.ReadAll(io.LimitReader(resp.Body, int64(cfg.outputMaxSize(d.OutputMaxSize))))
		output := fmt.Sprintf("HTTP %s %s: %s Output: %s", req.Method, d.HTTP, resp.Status, body)
		switch {
		case resp.StatusCode >= 200 && resp.StatusCode <= 299:
			return catalog.StatusPassing, output
		case resp.StatusCode == http.StatusTooManyRequests:
			return catalog.StatusWarning, output
		}
		return catalog.StatusCritical, output
	}
}

// request makes the request of an HTTP check.
func (d *Definition) request(ctx context.Context, userAgent string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, d.Method, d.HTTP, strings.NewReader(d.Body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", "text/plain, text/*, */*")
	for name, values := range d.Header {
		req.Header.Del(name)
		for _, v := range values {
			req.Header.Add(name, v)
		}
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host // net/http takes the host from here and ignores the header
	}
	return req, nil
}

// checkRedirect lets a redirect lead to other hosts, as Consul does, but never
// to another scheme: a checked service must not choose how the agent speaks.
func (d *Definition) checkRedirect(req *http.Request, via []*http.Request) error {
	switch {
	case d.DisableRedirects:
		return http.ErrUseLastResponse
	case req.URL.Scheme != via[0].URL.Scheme:
		return fmt.Errorf("redirect from %s to %s refused: a check does not change its scheme", via[0].URL.Scheme, req.URL.Scheme)
	case len(via) >= maxRedirects:
		return errors.New("stopped after 10 redirects")
	}
	return nil
}

// tlsConfig is how a check speaks TLS to host; "" leaves the name to the caller.
func (d *Definition) tlsConfig(host string) *tls.Config {
	name := host
	if d.TLSServerName != "" {
		name = d.TLSServerName
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         name,
		InsecureSkipVerify: d.TLSSkipVerify, //nolint:gosec // the operator asked for it, for this check
	}
}
