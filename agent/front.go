package agent

import (
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"

	"muster/agent/config"
)

// front puts what only this agent's own users' port has before the API:
// profiles, and the networks that may write.
func front(cfg *config.Config, api http.Handler) http.Handler {
	h := api
	if cfg.EnableDebug {
		h = withProfiles(h)
	}
	if len(cfg.AllowWriteFrom) > 0 {
		h = writesOnlyFrom(cfg.AllowWriteFrom, h)
	}
	return h
}

// withProfiles serves the runtime's profiles (enable_debug).
func withProfiles(next http.Handler) http.Handler {
	profiles := http.NewServeMux()
	profiles.HandleFunc("/debug/pprof/", pprof.Index)
	profiles.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	profiles.HandleFunc("/debug/pprof/profile", pprof.Profile)
	profiles.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	profiles.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/debug/pprof/") {
			profiles.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// writesOnlyFrom refuses methods that change something to callers outside of
// networks (http_config.allow_write_http_from). A unix socket has its file's
// permissions instead.
func writesOnlyFrom(networks []netip.Prefix, next http.Handler) http.Handler {
	allowed := func(r *http.Request) bool {
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodOptions:
			return true
		}
		if _, unix := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr); unix {
			return true
		}
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil {
			return false
		}
		for _, n := range networks {
			if n.Contains(from.Addr().Unmap()) {
				return true
			}
		}
		return false
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !allowed(r) {
			http.Error(w, "Access is restricted", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
