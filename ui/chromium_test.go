package ui

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// browserPatience bounds each question to the browser, waits included.
const browserPatience = 30 * time.Second

// tab is a page in a headless browser, driven through a pipe.
type tab struct {
	t       testing.TB
	in      io.WriteCloser
	session string
	loaded  chan struct{} // one for each document that open waits for

	mu      sync.Mutex
	last    int                // number of the newest question
	waiting map[int]chan reply // by number
	faults  []string           // what the page's console complains of
	closed  bool
}

// reply is what the browser says: an answer to a question, or an event.
type reply struct {
	ID     int
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  *struct{ Message string }
}

// openTab starts a browser with an empty page. Where there is none, the test is
// skipped.
func openTab(t testing.TB) *tab {
	t.Helper()
	program, err := findChromium()
	if err != nil {
		t.Skipf("THE PAGE IS NOT TESTED: %v; install chromium to test it", err)
	}
	toBrowser, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, fromBrowser, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-dev-shm-usage", "--lang=en", "--user-data-dir="+t.TempDir(), "--remote-debugging-pipe")
	cmd.ExtraFiles = []*os.File{toBrowser, fromBrowser} // the browser's 3 and 4
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	toBrowser.Close()
	fromBrowser.Close()
	b := &tab{t: t, in: in, waiting: map[int]chan reply{}, loaded: make(chan struct{}, 100)}
	read := make(chan struct{})
	go func() { defer close(read); b.read(out) }()
	t.Cleanup(func() {
		b.ask("Browser.close", nil, nil)
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Logf("the browser ended with: %v", err)
		}
		out.Close()
		<-read
	})

	var target struct{ TargetID string }
	b.ask("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.ask("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		b.ask(domain+".enable", nil, nil)
	}
	return b
}

func findChromium() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if program, err := exec.LookPath(name); err == nil {
			return program, nil
		}
	}
	return "", errors.New("there is no chromium on the PATH")
}

// read hands on what the browser says, until it ends.
func (b *tab) read(out io.Reader) {
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadBytes(0)
		if err != nil {
			break
		}
		var m reply
		if err := json.Unmarshal(line[:len(line)-1], &m); err != nil {
			m.Method, m.Params = "Log.entryAdded", line
		}
		b.take(m)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for _, c := range b.waiting {
		close(c)
	}
	clear(b.waiting)
}

func (b *tab) take(m reply) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch m.Method {
	case "":
		if c := b.waiting[m.ID]; c != nil {
			delete(b.waiting, m.ID)
			c <- m
		}
	case "Page.loadEventFired":
		b.loaded <- struct{}{}
	case "Runtime.exceptionThrown", "Log.entryAdded":
		b.faults = append(b.faults, string(m.Params))
	}
}

// ask asks the browser and decodes its answer into result, if any is wanted.
func (b *tab) ask(method string, params any, result any) {
	b.t.Helper()
	answer := make(chan reply, 1)
	b.mu.Lock()
	b.last++
	id := b.last
	if b.closed {
		close(answer)
	} else {
		b.waiting[id] = answer
	}
	b.mu.Unlock()
	question := map[string]any{"id": id, "method": method}
	if params != nil {
		question["params"] = params
	}
	if b.session != "" && !strings.HasPrefix(method, "Browser.") {
		question["sessionId"] = b.session
	}
	line, err := json.Marshal(question)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.in.Write(append(line, 0)); err != nil {
		b.t.Errorf("%s: %v", method, err)
		return
	}
	select {
	case m, ok := <-answer:
		switch {
		case !ok:
			b.t.Errorf("%s: the browser has ended", method)
		case m.Error != nil:
			b.t.Fatalf("%s: %s", method, m.Error.Message)
		case result != nil:
			if err := json.Unmarshal(m.Result, result); err != nil {
				b.t.Fatalf("%s: %v", method, err)
			}
		}
	case <-time.After(browserPatience):
		b.t.Fatalf("%s: no answer", method)
	}
}

// run evaluates an expression in the page, and waits for it if it is a promise.
func (b *tab) run(expression string, result any) {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.ask("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &answer)
	if answer.ExceptionDetails != nil {
		b.t.Fatalf("%s\nfailed: %s", expression, answer.ExceptionDetails)
	}
	if result != nil {
		if err := json.Unmarshal(answer.Result.Value, result); err != nil {
			b.t.Fatalf("%s: %v", expression, err)
		}
	}
}

// until waits until an expression is true in the page, looking whenever the page
// changes.
func (b *tab) until(expression string) {
	b.t.Helper()
	var seen struct {
		OK   bool
		Text string
	}
	b.run(fmt.Sprintf(`new Promise((resolve) => {
		const holds = () => { try { return Boolean(%s); } catch { return false; } };
		const end = (OK) => { watch.disconnect(); clearTimeout(late); resolve({ OK, Text: document.body?.innerText.slice(0, 3000) ?? "" }); };
		const watch = new MutationObserver(() => { if (holds()) end(true); });
		const late = setTimeout(() => end(false), 15000);
		watch.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
		if (holds()) end(true);
	})`, expression), &seen)
	if !seen.OK {
		b.t.Fatalf("the page never came to: %s\nit shows:\n%s", expression, seen.Text)
	}
}

// open loads an address, and waits until its document is there.
func (b *tab) open(url string) {
	b.t.Helper()
	b.ask("Page.navigate", map[string]any{"url": url}, nil)
	select {
	case <-b.loaded:
	case <-time.After(browserPatience):
		b.t.Fatalf("%s was not loaded", url)
	}
}

// size makes the page as large as a screen, and light or dark.
func (b *tab) size(width, height int, scheme string) {
	b.t.Helper()
	b.ask("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
	b.ask("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// picture writes what the page shows to a file, if MUSTER_UI_PICTURES names a
// folder for it.
func (b *tab) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("MUSTER_UI_PICTURES")
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	b.ask("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(dir+"/ui-"+name+".png", data, 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// complaints are what the page's console had to say since the last time.
func (b *tab) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	faults := b.faults
	b.faults = nil
	return faults
}
