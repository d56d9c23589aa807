package ui

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestPage shows the page to a browser, all tests to the same.
func TestPage(t *testing.T) {
	b := startBrowser(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *browser)
	}{
		{"ShowsHostileNamesAsText", showsHostileNamesAsText},
		{"ShowsAChangeAsItHappens", showsAChangeAsItHappens},
		{"SaysWhyItIsNotLiveAndComesBack", saysWhyItIsNotLiveAndComesBack},
		{"FollowsOnlyWhatItShows", followsOnlyWhatItShows},
		{"TellsHowToRegisterTheFirstService", tellsHowToRegisterTheFirstService},
		{"FiltersServicesAndNodes", filtersServicesAndNodes},
		{"UnderstandsAddressesOfOtherUIs", understandsAddressesOfOtherUIs},
		{"FitsAnyScreen", fitsAnyScreen},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, b) })
	}
}

// hostile are names that would do harm as markup, or to their neighbours.
var hostile = []string{
	`<img src=x onerror="window.harmed=1">`,
	`"><script>window.harmed=1</script>`,
	`</bdi></a><svg onload=window.harmed=1>`,
	"javascript:window.harmed=1//",
	"\u202Ednuora yaw gnorw eht\u2066 \u200F",
	"__proto__",
	"a/b?c#d%2F e",
	`'; drop "table" \ {{7*7}}`,
}

// quote makes a string of JavaScript.
func quote(s string) string {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func (p *tab) live() {
	p.t.Helper()
	p.until(`document.querySelector("#state").textContent === "Live"`)
}

// noComplaints fails the test if a script failed or the policy was broken.
func (p *tab) noComplaints() {
	p.t.Helper()
	for _, c := range p.complaints() {
		p.t.Errorf("the console says: %s", c)
	}
}

func showsHostileNamesAsText(t *testing.T, b *browser) {
	p, a := b.open(t), startAgent(t)
	for i, name := range hostile {
		a.addNode(name, "10.0.1."+string(rune('0'+i)))
		a.entries = append(a.entries, entry{
			node: name, service: name, id: name, tags: []string{name},
			checks: []check{{name, "critical", name}},
		})
	}
	p.visit(a.url)
	p.live()
	p.until(`document.querySelectorAll("#page tbody tr.critical td.number.critical").length === ` + strconv.Itoa(len(hostile)))
	for _, name := range hostile {
		p.until(`[...document.querySelectorAll("[aria-label=Services] tbody th")].some((e) => e.textContent === ` + quote(name) + `)`)
		p.until(`[...document.querySelectorAll("[aria-label=Nodes] tbody th")].some((e) => e.textContent === ` + quote(name) + `)`)
		for _, list := range []string{"services", "nodes"} {
			p.run(`location.hash = [...document.querySelectorAll("a")].find((e) => e.textContent === `+quote(name)+` && e.hash.startsWith("#/`+list+`/")).hash`, nil)
			p.until(`document.querySelector("h1").textContent === ` + quote(name))
			p.until(`[...document.querySelectorAll("article pre")].some((e) => e.textContent === ` + quote(strings.TrimSpace(name)) + `)`)
			p.live()
			p.run(`location.hash = "#/"`, nil)
			p.until(`document.querySelectorAll("tbody tr").length > 2`)
		}
	}
	var harm struct {
		Harmed   bool
		Elements []string
	}
	p.run(`({ harmed: "harmed" in window, elements: [...document.querySelectorAll("main img, main script, [onerror], [onload]")].map((e) => e.outerHTML) })`, &harm)
	if harm.Harmed || len(harm.Elements) > 0 {
		t.Errorf("a name became markup: %+v", harm)
	}
	p.noComplaints()
}

func showsAChangeAsItHappens(t *testing.T, b *browser) {
	p, a := b.open(t), startAgent(t)
	a.entries = append(a.entries, entry{node: "n1", service: "web", id: "web-1", checks: []check{{"ready", "passing", ""}}})
	p.visit(a.url)
	p.live()
	row := `[...document.querySelectorAll("[aria-label=Services] tbody tr")].find((e) => e.dataset.key === "web").innerText.replace(/\s+/g, " ").trim()`
	p.until(row + ` === "web 1 1 0 0"`)
	p.until(`document.querySelector("#leader").textContent === "n1 · ` + leader + `"`)
	p.run(`document.querySelector("#page a").focus()`, nil)

	a.change(func() { a.entries[1].checks[0].status = "warning" })
	p.until(row + ` === "web 1 0 1 0"`)
	a.change(func() {
		a.entries = append(a.entries, entry{node: "n1", service: "web", id: "web-2", tags: []string{"new"}})
	})
	p.until(row + ` === "web new 2 1 1 0"`)
	a.change(func() { a.addNode("n2", "10.0.0.2") })
	p.until(`document.querySelector("h1").textContent === "2 services on 2 nodes"`)
	p.until(`document.activeElement.textContent === "consul"`) // no redrawing took it away

	p.run(`location.hash = "#/services/web"`, nil)
	p.until(`document.activeElement.textContent === "web" && document.title === "web · Muster"`)
	p.until(`document.querySelectorAll("article").length === 2`)
	a.change(func() { a.entries[1].checks[0] = check{"ready", "critical", "connection refused"} })
	p.until(`document.querySelector("article.critical details[open] pre").textContent === "connection refused"`)
	a.change(func() { a.entries = a.entries[:1] })
	p.until(`document.querySelector("main").innerText.includes("No instance of this service")`)
	p.noComplaints()
}

func saysWhyItIsNotLiveAndComesBack(t *testing.T, b *browser) {
	p, a := b.open(t), startAgent(t)
	p.visit(a.url)
	p.live()
	a.change(func() { a.down = "No cluster leader" })
	p.until(`document.querySelector("#state").textContent === "Reconnecting"`)
	p.until(`document.querySelector("#reason").innerText.startsWith("The cluster has no leader at the moment. What you see is from")`)
	p.until(`document.querySelectorAll("tbody tr").length === 2`) // what was known stays
	a.change(func() {
		a.down = ""
		a.index = 3 // restored from a snapshot, say: all before is void
		a.entries = append(a.entries, entry{node: "n1", service: "restored", id: "restored"})
	})
	p.live()
	p.until(`document.querySelector("#reason").hidden && document.querySelector("#page").innerText.includes("restored")`)
	a.change(func() { a.entries = append(a.entries, entry{node: "n1", service: "later", id: "later"}) })
	p.until(`document.querySelector("#page").innerText.includes("later")`)
}

func followsOnlyWhatItShows(t *testing.T, b *browser) {
	p, a := b.open(t), startAgent(t)
	for url, want := range map[string][]string{
		"":                   {"/v1/internal/ui/nodes"},
		"#/services/consul":  {"/v1/health/service/consul"},
		"#/nodes/n1":         {"/v1/catalog/node/n1", "/v1/health/node/n1"},
		"#/services/nothing": {"/v1/health/service/nothing"},
	} {
		p.visit("about:blank")
		p.visit(a.url)
		p.live()
		p.run(`location.hash = `+quote(url), nil)
		var got []string
		// Sooner than a query that nobody ended would come back by itself.
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline) && !slices.Equal(got, want); {
			got = got[:0]
			for path := range a.queries() {
				got = append(got, path)
			}
			slices.Sort(got)
			p.run(`new Promise(requestAnimationFrame)`, nil)
		}
		if !slices.Equal(got, want) {
			t.Errorf("at %q it follows %q, want %q", url, got, want)
		}
	}
	p.noComplaints()
}

func tellsHowToRegisterTheFirstService(t *testing.T, b *browser) {
	p, a := b.open(t), startAgent(t)
	p.visit(a.url)
	p.until(`document.querySelector("section.panel pre").textContent.startsWith("curl -X PUT " + location.origin + "/v1/agent/service/register")`)
	p.picture("first")
	a.change(func() { a.entries = append(a.entries, entry{node: "n1", service: "web", id: "web"}) })
	p.until(`!document.querySelector("section.panel")`)
	p.noComplaints()
}

func filtersServicesAndNodes(t *testing.T, b *browser) {
	p, a := b.open(t), startAgent(t)
	a.addNode("edge-7", "10.0.0.7")
	a.entries = append(a.entries,
		entry{node: "n1", service: "web", id: "web", tags: []string{"edge"}},
		entry{node: "edge-7", service: "db", id: "db", checks: []check{{"disk", "critical", "full"}}})
	p.visit(a.url)
	shown := `[...document.querySelectorAll("tbody tr")].map((e) => e.dataset.key).join()`
	p.until(shown + ` === "consul,db,web,n1,edge-7"`)
	p.run(`(() => { const e = document.querySelector("#words"); e.value = "EDGE"; e.dispatchEvent(new Event("input", { bubbles: true })); })()`, nil)
	p.until(shown + ` === "web,edge-7"`)
	p.run(`(() => { const e = document.querySelector("#words"); e.value = ""; document.querySelector("#troubled").click(); })()`, nil)
	p.until(shown + ` === "db"`)
	p.noComplaints()
}

func understandsAddressesOfOtherUIs(t *testing.T, b *browser) {
	p, a := b.open(t), startAgent(t)
	p.visit(a.url + "dc1/services/consul/instances")
	p.until(`location.pathname + location.hash === "/ui/#/services/consul" && document.querySelector("article h3").textContent === "consul"`)
	p.noComplaints()
}

func fitsAnyScreen(t *testing.T, b *browser) {
	p, a := b.open(t), startAgent(t)
	long := strings.Repeat("x", 64<<10)
	a.addNode("db-"+long, "10.0.0.2")
	a.entries = append(a.entries,
		entry{node: "n1", service: "web", id: "web-1", tags: []string{"v2", "public"}, checks: []check{{"ready", "passing", "HTTP GET http://10.0.0.1:8080/ready: 200 OK"}}},
		entry{node: "n1", service: "web", id: "web-2", tags: []string{"v2", "canary"}, checks: []check{{"ready", "critical", "Get \"http://10.0.0.1:8081/ready\": connection refused\n" + long}}},
		entry{node: "n1", service: "search", id: "search", tags: []string{"internal"}, checks: []check{{"queue", "warning", "817 messages wait"}}},
		entry{node: "db-" + long, service: long, id: long, tags: []string{long, "primary"}, checks: []check{{long, "passing", long}}})
	p.size(1200, 900, "light")
	p.visit(a.url)
	for _, screen := range []struct {
		name, scheme  string
		width, height int
	}{{"light", "light", 1200, 900}, {"dark", "dark", 1200, 900}, {"narrow", "light", 360, 900}} {
		p.size(screen.width, screen.height, screen.scheme)
		for page, hash := range map[string]string{"lists": "#/", "service": "#/services/web", "node": "#/nodes/n1", "long": "#/services/" + long, "long-node": "#/nodes/db-" + long} {
			p.run(`location.hash = `+quote(hash), nil)
			p.live()
			p.until(`document.querySelector("#page .card, #page article")`)
			var width, height int
			p.run(`document.documentElement.scrollWidth`, &width)
			p.run(`document.documentElement.scrollHeight`, &height)
			if width > screen.width || height > 5*screen.height {
				t.Errorf("%s at %d×%d: the page is %d×%d", page, screen.width, screen.height, width, height)
			}
			p.picture(screen.name + "-" + page)
		}
	}
	p.noComplaints()
}
