import { watch, get, pause } from "./watch.js";
import { instances, nodeRows, changedServices, tally } from "./model.js";
import { element, note, badge, summary, chips, checkList, row, keyed } from "./view.js";

const byId = (id) => document.getElementById(id);

// What is known by now; null is not yet.
const known = { services: null, checks: null, nodes: null, instances: new Map() };

// ---- services: names and tags are watched, as are all checks; the instances of
// a service are asked for when either says that they may have changed, and all
// of them now and then, for instances that come without a check.

const queue = new Set();
const refreshEvery = 15000;

function refresh(names) {
  for (const name of names) queue.add(name);
  wake();
}

let wake = () => {};

async function drain() {
  for (;;) {
    const [name] = queue;
    if (name === undefined) {
      await new Promise((resolve) => { wake = resolve; });
      continue;
    }
    queue.delete(name);
    try {
      const entries = await get(`/v1/health/service/${encodeURIComponent(name)}`);
      if (known.services && name in known.services) known.instances.set(name, instances(entries));
    } catch {
      await pause(1000);
      queue.add(name); // the watches say what is wrong
    }
    if (queue.size === 0) render();
  }
}

function onServices(services) {
  known.services = services;
  for (const name of known.instances.keys()) if (!(name in services)) known.instances.delete(name);
  refresh(Object.keys(services));
  render();
}

function onChecks(checks) {
  const changed = changedServices(known.checks ?? [], checks);
  known.checks = checks;
  if (changed.has("")) refresh(Object.keys(known.services ?? {}));
  else refresh([...changed].filter((name) => name in (known.services ?? {})));
  render();
}

// ---- drawing

function render() {
  renderServices();
  renderNodes();
}

function wanted(words, status) {
  const text = byId("filter").value.trim().toLowerCase();
  if (byId("unhealthy").checked && status === "passing") return false;
  return text === "" || words.some((word) => word.toLowerCase().includes(text));
}

function count(n, noun) {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

function renderServices() {
  if (known.services === null) return;
  const all = Object.keys(known.services).sort().map((name) => {
    const list = known.instances.get(name);
    const counts = tally((list ?? []).map((i) => i.status));
    const status = counts.critical ? "critical" : counts.warning ? "warning" : "passing";
    return { key: name, tags: known.services[name], list, counts, status };
  });
  const shown = all.filter((s) => wanted([s.key, ...s.tags], s.status));
  byId("services-count").textContent = tallyText(shown.length, all.length);
  show("services", shown, "No service matches the filter.", (s) => [
    row(s.key, s.list ? summary(s.counts) : element("span", { class: "quiet" }, "…"), chips(s.tags),
      s.list ? count(s.list.length, "instance") : ""),
    instanceTable(s.list ?? []),
  ]);
}

function instanceTable(list) {
  const body = element("tbody");
  for (const i of list) {
    body.append(element("tr", {},
      element("td", {}, i.id), element("td", {}, i.node), element("td", {}, element("code", {}, i.address)),
      element("td", {}, checkList(i.checks))));
  }
  const head = element("tr");
  for (const title of ["Instance", "Node", "Address", "Checks"]) head.append(element("th", { scope: "col" }, title));
  return element("div", { class: "scroll" }, element("table", {}, element("thead", {}, head), body));
}

function renderNodes() {
  if (known.nodes === null || known.checks === null) return;
  const all = nodeRows(known.nodes, known.checks, known.instances).map((n) => ({ ...n, key: n.name }));
  const shown = all.filter((n) => wanted([n.name, n.address, ...n.services], n.status));
  byId("nodes-count").textContent = tallyText(shown.length, all.length);
  show("nodes", shown, "No node matches the filter.", (n) => [
    row(n.name, badge(n.status, n.status), element("code", {}, n.address), count(n.services.length, "service")),
    element("div", { class: "inside" },
      element("p", { class: "quiet" }, n.id ? `ID ${n.id}` : "registered without an agent"),
      n.services.length ? chips(n.services) : null, checkList(n.checks)),
  ]);
}

function tallyText(shown, all) {
  return shown === all ? String(all) : `${shown} of ${all}`;
}

function show(id, items, empty, build) {
  const container = byId(id);
  keyed(container, items, build);
  if (items.length === 0) container.append(note(empty));
}

// ---- the state of the connection, and who leads

const failing = new Map();

function healthy(what) {
  failing.delete(what);
  renderLive();
}

function renderLive() {
  const live = byId("live");
  const [error] = failing.values();
  live.className = error ? "live lost" : "live ok";
  const text = error ? `Trying again: ${error.message}` : "Live";
  if (live.textContent !== text) live.textContent = text;
}

function follow(what, path, onData) {
  watch(path, (data) => { healthy(what); onData(data); }, (error) => { failing.set(what, error); renderLive(); });
}

async function followCluster() {
  for (;;) {
    if (document.visibilityState !== "hidden") {
      try {
        const [leader, peers] = await Promise.all([get("/v1/status/leader"), get("/v1/status/peers")]);
        byId("leader").textContent = leader || "none";
        byId("leader").className = leader ? "" : "critical";
        byId("peers").textContent = peers.length ? `${peers.length}: ${[...peers].sort().join(", ")}` : "none";
        healthy("cluster");
      } catch (error) {
        failing.set("cluster", error);
        renderLive();
      }
    }
    await pause(3000);
  }
}

async function showAgent() {
  for (;;) {
    try {
      const self = await get("/v1/agent/self");
      byId("datacenter").textContent = self.Config.Datacenter;
      byId("agent").textContent = `${self.Config.NodeName} (${self.Config.Server ? "server" : "client"})`;
      document.title = `${self.Config.Datacenter} · Muster`;
      return;
    } catch {
      await pause(2000);
    }
  }
}

byId("filter").addEventListener("input", render);
byId("unhealthy").addEventListener("change", render);
document.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
setInterval(() => { if (document.visibilityState !== "hidden") refresh(Object.keys(known.services ?? {})); }, refreshEvery);

follow("services", "/v1/catalog/services", onServices);
follow("checks", "/v1/health/state/any", onChecks);
follow("nodes", "/v1/catalog/nodes", (nodes) => { known.nodes = nodes; render(); });
drain();
followCluster();
showAgent();
