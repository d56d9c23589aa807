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
	"sync"
	"testing"
	"time"
)

// browserPatience bounds each question to the browser, waits included.
const browserPatience = 30 * time.Second

// browser is a headless browser, driven through a pipe.
type browser struct {
	in io.WriteCloser

	mu      sync.Mutex
	last    int                // number of the newest question
	waiting map[int]chan reply // by number; nil once the browser has ended
	tabs    map[string]*tab    // by session
}

// tab is a page in a browser.
type tab struct {
	*browser
	t       testing.TB
	session string
	loaded  chan struct{} // one for each document that visit waits for
	faults  []string      // what the page's console complains of; guarded by mu
}

// reply is what the browser says: an answer to a question, or an event.
type reply struct {
	ID        int
	SessionID string
	Method    string
	Params    json.RawMessage
	Result    json.RawMessage
	Error     *struct{ Message string }
}

// startBrowser starts a browser. Where there is none, the test is skipped.
func startBrowser(t *testing.T) *browser {
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
	b := &browser{in: in, waiting: map[int]chan reply{}, tabs: map[string]*tab{}}
	read := make(chan struct{})
	go func() { defer close(read); b.read(out) }()
	t.Cleanup(func() {
		(&tab{browser: b, t: t}).ask("Browser.close", nil, nil)
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Logf("the browser ended with: %v", err)
		}
		out.Close()
		<-read
	})
	return b
}

// open makes an empty page, which is there until the test ends.
func (b *browser) open(t *testing.T) *tab {
	t.Helper()
	p := &tab{browser: b, t: t, loaded: make(chan struct{}, 100)}
	var target struct{ TargetID string }
	p.ask("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	t.Cleanup(func() {
		p.session = ""
		p.ask("Target.closeTarget", map[string]any{"targetId": target.TargetID}, nil)
	})
	var attached struct{ SessionID string }
	p.ask("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	p.session = attached.SessionID
	b.mu.Lock()
	b.tabs[p.session] = p
	b.mu.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		p.ask(domain+".enable", nil, nil)
	}
	return p
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
func (b *browser) read(out io.Reader) {
	r := bufio.NewReader(out)
	for {
		line, err := r.ReadBytes(0)
		if err != nil {
			break
		}
		var m reply
		if json.Unmarshal(line[:len(line)-1], &m) == nil {
			b.take(m)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.waiting {
		close(c)
	}
	b.waiting = nil
}

func (b *browser) take(m reply) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c := b.waiting[m.ID]; c != nil {
		delete(b.waiting, m.ID)
		c <- m
	}
	p := b.tabs[m.SessionID]
	if p == nil {
		return
	}
	switch m.Method {
	case "Page.loadEventFired":
		p.loaded <- struct{}{}
	case "Runtime.exceptionThrown", "Log.entryAdded":
		p.faults = append(p.faults, string(m.Params))
	}
}

// ask asks the browser and decodes its answer into result, if any is wanted.
func (p *tab) ask(method string, params any, result any) {
	p.t.Helper()
	answer := make(chan reply, 1)
	p.mu.Lock()
	p.last++
	id := p.last
	if p.waiting == nil {
		close(answer)
	} else {
		p.waiting[id] = answer
	}
	p.mu.Unlock()
	question := map[string]any{"id": id, "method": method}
	if params != nil {
		question["params"] = params
	}
	if p.session != "" {
		question["sessionId"] = p.session
	}
	line, err := json.Marshal(question)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.in.Write(append(line, 0)); err != nil {
		p.t.Errorf("%s: %v", method, err)
		return
	}
	select {
	case m, ok := <-answer:
		switch {
		case !ok:
			p.t.Errorf("%s: the browser has ended", method)
		case m.Error != nil:
			p.t.Fatalf("%s: %s", method, m.Error.Message)
		case result != nil:
			if err := json.Unmarshal(m.Result, result); err != nil {
				p.t.Fatalf("%s: %v", method, err)
			}
		}
	case <-time.After(browserPatience):
		p.t.Fatalf("%s: no answer", method)
	}
}

// run evaluates an expression in the page, and waits for it if it is a promise.
func (p *tab) run(expression string, result any) {
	p.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	p.ask("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &answer)
	if answer.ExceptionDetails != nil {
		p.t.Fatalf("%s\nfailed: %s", expression, answer.ExceptionDetails)
	}
	if result != nil {
		if err := json.Unmarshal(answer.Result.Value, result); err != nil {
			p.t.Fatalf("%s: %v", expression, err)
		}
	}
}

// until waits until an expression is true in the page, looking whenever the page
// changes.
func (p *tab) until(expression string) {
	p.t.Helper()
	var seen struct {
		OK   bool
		Text string
	}
	p.run(fmt.Sprintf(`new Promise((resolve) => {
		const holds = () => { try { return Boolean(%s); } catch { return false; } };
		const end = (OK) => { watch.disconnect(); clearTimeout(late); resolve({ OK, Text: document.body?.innerText.slice(0, 3000) ?? "" }); };
		const watch = new MutationObserver(() => { if (holds()) end(true); });
		const late = setTimeout(() => end(false), 15000);
		watch.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
		if (holds()) end(true);
	})`, expression), &seen)
	if !seen.OK {
		p.t.Fatalf("the page never came to: %s\nit shows:\n%s", expression, seen.Text)
	}
}

// visit loads an address, and waits until its document is there.
func (p *tab) visit(url string) {
	p.t.Helper()
	p.ask("Page.navigate", map[string]any{"url": url}, nil)
	select {
	case <-p.loaded:
	case <-time.After(browserPatience):
		p.t.Fatalf("%s was not loaded", url)
	}
}

// size makes the page as large as a screen, and light or dark.
func (p *tab) size(width, height int, scheme string) {
	p.t.Helper()
	p.ask("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false}, nil)
	p.ask("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// picture writes what the page shows to a file, if MUSTER_UI_PICTURES names a
// folder for it.
func (p *tab) picture(name string) {
	p.t.Helper()
	dir := os.Getenv("MUSTER_UI_PICTURES")
	if dir == "" {
		return
	}
	var shot struct{ Data string }
	p.ask("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(dir+"/ui-"+name+".png", data, 0o644)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// complaints are what the page's console had to say since the last time.
func (p *tab) complaints() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	faults := p.faults
	p.faults = nil
	return faults
}
