package handlers

//lint:file-ignore ST1005 these are texts of Consul's

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"

	"github.com/hashicorp/consul/api/watch"
)

// The kinds of handlers.
const (
	byScript = "script"
	byHTTP   = "http"
)

// Watch is what to watch, and what to do with the news.
type Watch struct {
	params map[string]any           // as they were given, for a plan
	args   []string                 // the program to run,
	http   *watch.HttpHandlerConfig // or else the request to send
}

// New makes a Watch of the parameters that a file gives, values of JSON. The texts of
// its errors are Consul's where it refuses the same.
func New(params map[string]any) (Watch, error) {
	w := Watch{params: params}
	plan, err := w.plan()
	if err != nil {
		return Watch{}, err
	}
	switch plan.HandlerType {
	case "", byScript, byHTTP:
	default:
		return Watch{}, fmt.Errorf("Handler type '%s' not recognized", plan.HandlerType)
	}
	args, hasArgs := plan.Exempt["args"]
	line, hasLine := plan.Exempt["handler"]
	w.http, _ = plan.Exempt["http_handler_config"].(*watch.HttpHandlerConfig)
	switch given := count(hasArgs, hasLine, w.http != nil); {
	case given == 0:
		return Watch{}, errors.New("Must define a watch handler")
	case given > 1:
		return Watch{}, errors.New("Only one watch handler allowed")
	case w.http != nil:
		return w, checkHTTP(w.http)
	case hasArgs:
		w.args, err = texts(args)
		return w, err
	case hasLine:
		text, ok := line.(string)
		if !ok || text == "" {
			return Watch{}, errors.New("handler must be a line for the shell")
		}
		w.args = []string{"/bin/sh", "-c", text}
	}
	return w, nil
}

func checkHTTP(c *watch.HttpHandlerConfig) error {
	req, err := http.NewRequest(c.Method, c.Path, nil)
	switch {
	case err != nil:
		return fmt.Errorf("'http_handler_config': %w", err)
	case req.URL.Scheme != "http" && req.URL.Scheme != "https" || req.URL.Host == "":
		return fmt.Errorf("'http_handler_config': path must be a URL such as http://127.0.0.1:9000/changed, not %q", c.Path)
	case c.Timeout <= 0:
		return fmt.Errorf("'http_handler_config': timeout must be positive, not %s", c.Timeout)
	}
	return nil
}

func count(facts ...bool) (n int) {
	for _, is := range facts {
		if is {
			n++
		}
	}
	return n
}

// texts reads a program and its arguments.
func texts(v any) (args []string, err error) {
	list, isList := v.([]any)
	if !isList {
		list = []any{v}
	}
	for _, e := range list {
		s, ok := e.(string)
		if !ok {
			return nil, errors.New("args must be a list of strings")
		}
		args = append(args, s)
	}
	if len(args) == 0 || args[0] == "" {
		return nil, errors.New("args must name a program")
	}
	return args, nil
}

// plan makes what asks for the news. It can be run once.
func (w Watch) plan() (*watch.Plan, error) {
	return watch.ParseExempt(maps.Clone(w.params), []string{"args", "handler"})
}

// key tells watches apart by all that they say.
func (w Watch) key() string {
	text, _ := json.Marshal(w.params) // what was read from a file can be written
	return string(text)
}
