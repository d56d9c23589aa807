package ui

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

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

func (b *tab) live() {
	b.t.Helper()
	b.until(`document.querySelector("#state").textContent === "Live"`)
}

// noComplaints fails the test if a script failed or the policy was broken.
func (b *tab) noComplaints() {
	b.t.Helper()
	for _, c := range b.complaints() {
		b.t.Errorf("the console says: %s", c)
	}
}

func TestPage_ShowsHostileNamesAsText(t *testing.T) {
	b, a := openTab(t), startAgent(t)
	for i, name := range hostile {
		a.addNode(name, "10.0.1."+string(rune('0'+i)))
		a.entries = append(a.entries, entry{
			node: name, service: name, id: name, tags: []string{name},
			checks: []check{{name, "critical", name}},
		})
	}
	b.open(a.url)
	b.live()
	b.until(`document.querySelectorAll("#page tbody tr.critical td.number.critical").length === ` + strconv.Itoa(len(hostile)))
	for _, name := range hostile {
		b.until(`[...document.querySelectorAll("[aria-label=Services] tbody th")].some((e) => e.textContent === ` + quote(name) + `)`)
		b.until(`[...document.querySelectorAll("[aria-label=Nodes] tbody th")].some((e) => e.textContent === ` + quote(name) + `)`)
		for _, list := range []string{"services", "nodes"} {
			b.run(`location.hash = [...document.querySelectorAll("a")].find((e) => e.textContent === `+quote(name)+` && e.hash.startsWith("#/`+list+`/")).hash`, nil)
			b.until(`document.querySelector("h1").textContent === ` + quote(name))
			b.until(`[...document.querySelectorAll("article pre")].some((e) => e.textContent === ` + quote(strings.TrimSpace(name)) + `)`)
			b.live()
			b.run(`location.hash = "#/"`, nil)
			b.until(`document.querySelectorAll("tbody tr").length > 2`)
		}
	}
	var harm struct {
		Harmed   bool
		Elements []string
	}
	b.run(`({ harmed: "harmed" in window, elements: [...document.querySelectorAll("main img, main script, [onerror], [onload]")].map((e) => e.outerHTML) })`, &harm)
	if harm.Harmed || len(harm.Elements) > 0 {
		t.Errorf("a name became markup: %+v", harm)
	}
	b.noComplaints()
}

func TestPage_ShowsAChangeAsItHappens(t *testing.T) {
	b, a := openTab(t), startAgent(t)
	a.entries = append(a.entries, entry{node: "n1", service: "web", id: "web-1", checks: []check{{"ready", "passing", ""}}})
	b.open(a.url)
	b.live()
	row := `[...document.querySelectorAll("[aria-label=Services] tbody tr")].find((e) => e.dataset.key === "web").innerText.replace(/\s+/g, " ").trim()`
	b.until(row + ` === "web 1 1 0 0"`)
	b.until(`document.querySelector("#leader").textContent === "n1 · ` + leader + `"`)
	b.run(`document.querySelector("#page a").focus()`, nil)

	a.change(func() { a.entries[1].checks[0].status = "warning" })
	b.until(row + ` === "web 1 0 1 0"`)
	a.change(func() {
		a.entries = append(a.entries, entry{node: "n1", service: "web", id: "web-2", tags: []string{"new"}})
	})
	b.until(row + ` === "web new 2 1 1 0"`)
	a.change(func() { a.addNode("n2", "10.0.0.2") })
	b.until(`document.querySelector("h1").textContent === "2 services on 2 nodes"`)
	b.until(`document.activeElement.textContent === "consul"`) // no redrawing took it away

	b.run(`location.hash = "#/services/web"`, nil)
	b.until(`document.activeElement.textContent === "web" && document.title === "web · Muster"`)
	b.until(`document.querySelectorAll("article").length === 2`)
	a.change(func() { a.entries[1].checks[0] = check{"ready", "critical", "connection refused"} })
	b.until(`document.querySelector("article.critical details[open] pre").textContent === "connection refused"`)
	a.change(func() { a.entries = a.entries[:1] })
	b.until(`document.querySelector("main").innerText.includes("No instance of this service")`)
	b.noComplaints()
}

func TestPage_SaysWhyItIsNotLiveAndComesBack(t *testing.T) {
	b, a := openTab(t), startAgent(t)
	b.open(a.url)
	b.live()
	a.change(func() { a.down = "No cluster leader" })
	b.until(`document.querySelector("#state").textContent === "Reconnecting"`)
	b.until(`document.querySelector("#reason").innerText.startsWith("The cluster has no leader at the moment. What you see is from")`)
	b.until(`document.querySelectorAll("tbody tr").length === 2`) // what was known stays
	a.change(func() {
		a.down = ""
		a.index = 3 // restored from a snapshot, say: all before is void
		a.entries = append(a.entries, entry{node: "n1", service: "restored", id: "restored"})
	})
	b.live()
	b.until(`document.querySelector("#reason").hidden && document.querySelector("#page").innerText.includes("restored")`)
	a.change(func() { a.entries = append(a.entries, entry{node: "n1", service: "later", id: "later"}) })
	b.until(`document.querySelector("#page").innerText.includes("later")`)
}

func TestPage_FollowsOnlyWhatItShows(t *testing.T) {
	b, a := openTab(t), startAgent(t)
	for url, want := range map[string][]string{
		"":                   {"/v1/catalog/nodes", "/v1/catalog/services", "/v1/health/state/any"},
		"#/services/consul":  {"/v1/health/service/consul"},
		"#/nodes/n1":         {"/v1/catalog/node/n1", "/v1/health/node/n1"},
		"#/services/nothing": {"/v1/health/service/nothing"},
	} {
		b.open("about:blank")
		b.open(a.url)
		b.live()
		b.run(`location.hash = `+quote(url), nil)
		var got []string
		for deadline := time.Now().Add(browserPatience); time.Now().Before(deadline) && !slices.Equal(got, want); {
			got = got[:0]
			for path := range a.queries() {
				got = append(got, path)
			}
			slices.Sort(got)
			b.run(`new Promise(requestAnimationFrame)`, nil)
		}
		if !slices.Equal(got, want) {
			t.Errorf("at %q it follows %q, want %q", url, got, want)
		}
	}
	b.noComplaints()
}

func TestPage_TellsHowToRegisterTheFirstService(t *testing.T) {
	b, a := openTab(t), startAgent(t)
	b.open(a.url)
	b.until(`document.querySelector("section.panel pre").textContent.startsWith("curl -X PUT " + location.origin + "/v1/agent/service/register")`)
	b.picture("first")
	a.change(func() { a.entries = append(a.entries, entry{node: "n1", service: "web", id: "web"}) })
	b.until(`!document.querySelector("section.panel")`)
	b.noComplaints()
}

func TestPage_FiltersServicesAndNodes(t *testing.T) {
	b, a := openTab(t), startAgent(t)
	a.addNode("edge-7", "10.0.0.7")
	a.entries = append(a.entries,
		entry{node: "n1", service: "web", id: "web", tags: []string{"edge"}},
		entry{node: "edge-7", service: "db", id: "db", checks: []check{{"disk", "critical", "full"}}})
	b.open(a.url)
	shown := `[...document.querySelectorAll("tbody tr")].map((e) => e.dataset.key).join()`
	b.until(shown + ` === "consul,db,web,n1,edge-7"`)
	b.run(`(() => { const e = document.querySelector("#words"); e.value = "EDGE"; e.dispatchEvent(new Event("input", { bubbles: true })); })()`, nil)
	b.until(shown + ` === "web,edge-7"`)
	b.run(`(() => { const e = document.querySelector("#words"); e.value = ""; document.querySelector("#troubled").click(); })()`, nil)
	b.until(shown + ` === "db"`)
	b.noComplaints()
}

func TestPage_UnderstandsAddressesOfOtherUIs(t *testing.T) {
	b, a := openTab(t), startAgent(t)
	b.open(a.url + "dc1/services/consul/instances")
	b.until(`location.pathname + location.hash === "/ui/#/services/consul" && document.querySelector("article h3").textContent === "consul"`)
	b.noComplaints()
}

func TestPage_FitsAnyScreen(t *testing.T) {
	b, a := openTab(t), startAgent(t)
	long := strings.Repeat("x", 64<<10)
	a.addNode("db-"+long, "10.0.0.2")
	a.entries = append(a.entries,
		entry{node: "n1", service: "web", id: "web-1", tags: []string{"v2", "public"}, checks: []check{{"ready", "passing", "HTTP GET http://10.0.0.1:8080/ready: 200 OK"}}},
		entry{node: "n1", service: "web", id: "web-2", tags: []string{"v2", "canary"}, checks: []check{{"ready", "critical", "Get \"http://10.0.0.1:8081/ready\": connection refused\n" + long}}},
		entry{node: "n1", service: "search", id: "search", tags: []string{"internal"}, checks: []check{{"queue", "warning", "817 messages wait"}}},
		entry{node: "db-" + long, service: long, id: long, tags: []string{long, "primary"}, checks: []check{{long, "passing", long}}})
	b.size(1200, 900, "light")
	b.open(a.url)
	for _, screen := range []struct {
		name, scheme  string
		width, height int
	}{{"light", "light", 1200, 900}, {"dark", "dark", 1200, 900}, {"narrow", "light", 360, 900}} {
		b.size(screen.width, screen.height, screen.scheme)
		for page, hash := range map[string]string{"lists": "#/", "service": "#/services/web", "node": "#/nodes/n1", "long": "#/services/" + long, "long-node": "#/nodes/db-" + long} {
			b.run(`location.hash = `+quote(hash), nil)
			b.live()
			b.until(`document.querySelector("#page .card, #page article")`)
			var width, height int
			b.run(`document.documentElement.scrollWidth`, &width)
			b.run(`document.documentElement.scrollHeight`, &height)
			if width > screen.width || height > 5*screen.height {
				t.Errorf("%s at %d×%d: the page is %d×%d", page, screen.width, screen.height, width, height)
			}
			b.picture(screen.name + "-" + page)
		}
	}
	b.noComplaints()
}
