import { ask, follow, inWords, path, pause } from "./agent.js";
import { become } from "./dom.js";
import { Catalog, byName, count, instancesOf, instancesOn, matches, nodeRows, serviceRows, statusOf } from "./model.js";
import * as pages from "./pages.js";

const rowsAtOnce = 100;
const leaderEvery = 3000; // ms between two questions for the leader

const byId = (id) => document.getElementById(id);

// What the agent said; null is not yet.
const known = {
  catalog: null,
  service: null, // the instances of the service whose page this is
  node: null, // the same of a node: { Node, Services }, or gone
  nodeChecks: null,
  leader: "",
};

let route = { view: "all" };
let limit = rowsAtOnce;
let listening = new AbortController(); // aborted when the page follows something else

// ---- what is followed

const follows = {
  all: followLists,
  services: followLists,
  nodes: followLists,
  service(signal) {
    listen(`/v1/health/service${path(route.name)}`, signal, (data) => { known.service = instancesOf(data); });
  },
  node(signal) {
    listen(`/v1/catalog/node${path(route.name)}`, signal, (data) => { known.node = data ?? { Node: null }; });
    listen(`/v1/health/node${path(route.name)}`, signal, (data) => { known.nodeChecks = data; });
  },
};

function followLists(signal) {
  listen("/v1/internal/ui/nodes", signal, (data) => { known.catalog = new Catalog(data); });
}

// ---- whether it is live

const silent = new Set(); // queries that have not been answered yet
const faults = new Map(); // query → what is wrong with it
let lastAnswer = null; // when an answer last came

function listen(query, signal, onData) {
  silent.add(query);
  follow(query, signal, {
    onAlive: () => alive(query),
    onAnswer: (data) => { onData(data); draw(); },
    onFault: (fault) => failed(query, fault),
  });
}

function alive(query) {
  silent.delete(query);
  faults.delete(query);
  lastAnswer = new Date();
  drawState();
}

function failed(query, fault) {
  faults.set(query, fault);
  drawState();
}

async function followLeader(signal) {
  const query = "/v1/status/leader";
  while (!signal.aborted) {
    try {
      const { data } = await ask(query, signal);
      if (signal.aborted) return;
      known.leader = data;
      alive(query);
      draw();
    } catch (fault) {
      if (signal.aborted) return;
      failed(query, fault);
    }
    await pause(leaderEvery, signal);
  }
}

async function readSelf(signal) {
  while (!signal.aborted) {
    try {
      const { data } = await ask("/v1/agent/self", signal);
      setText("datacenter", data.Config.Datacenter);
      setText("agent", `${data.Config.NodeName} (${data.Config.Server ? "server" : "client"})`);
      return;
    } catch {
      await pause(leaderEvery, signal); // the queries say what is wrong
    }
  }
}

function drawState() {
  const [fault] = faults.values();
  const state = fault ? "reconnecting" : silent.size > 0 ? "connecting" : "live";
  byId("state").className = `state ${state}`;
  setText("state", state[0].toUpperCase() + state.slice(1));
  const from = lastAnswer && `What you see is from ${lastAnswer.toLocaleTimeString()}.`;
  setText("reason", fault ? [inWords(fault), from, "Trying again."].filter(Boolean).join(" ") : "");
  byId("reason").hidden = !fault;
}

function setText(id, text) {
  const e = byId(id);
  if (e.textContent !== text) e.textContent = text;
}

// ---- drawing: the whole page from what is known, at most once a frame, and less
// often where there is so much of it that drawing takes long

let due = false;
let notBefore = 0;

function draw() {
  if (due) return;
  due = true;
  const wait = notBefore - performance.now();
  if (wait > 0) setTimeout(() => requestAnimationFrame(drawNow), wait);
  else requestAnimationFrame(drawNow);
}

function drawNow() {
  due = false;
  const begun = performance.now();
  setText("leader", leaderName());
  const { top, page } = views[route.view]();
  become(byId("top"), pages.heading(top));
  become(byId("page"), page.filter((e) => e !== null));
  const ended = performance.now();
  notBefore = ended + 4 * (ended - begun);
}

function leaderName() {
  if (lastAnswer === null) return "–";
  if (!known.leader) return "none";
  const node = known.catalog?.serverAt(known.leader);
  return node ? `${node} · ${known.leader}` : known.leader;
}

const views = {
  all: () => lists({ services: true, nodes: true }),
  services: () => lists({ services: true }),
  nodes: () => lists({ nodes: true }),
  service: servicePage,
  node: nodePage,
};

function passesFilter(status, texts) {
  return (!byId("troubled").checked || status !== "passing") && matches(texts, byId("words").value);
}

function lists(wanted) {
  if (known.catalog === null) {
    return { top: { title: "Services and nodes", own: true }, page: [pages.waiting("Asking the agent…")] };
  }
  const services = serviceRows(known.catalog);
  const nodes = nodeRows(known.catalog, known.leader);
  const page = [];
  if (wanted.services) {
    if (services.every((s) => s.name === "consul")) page.push(pages.firstService(location.origin));
    page.push(pages.servicesSection(services, services.filter((s) => passesFilter(s.status, [s.name, ...s.tags])), limit));
  }
  if (wanted.nodes) {
    page.push(pages.nodesSection(nodes, nodes.filter((n) => passesFilter(n.status, [n.name, n.address, n.role])), limit));
  }
  const title = `${pages.plural(services.length, "service")} on ${pages.plural(nodes.length, "node")}`;
  return { top: { title, own: true, below: pages.summary(services, nodes) }, page };
}

function servicePage() {
  const trail = [["Services", "#/services"]];
  if (known.service === null) return { top: { title: route.name, trail }, page: [pages.waiting("Asking the agent…")] };
  const tags = [...new Set(known.service.flatMap((i) => i.tags))].sort(byName);
  const shown = known.service.filter((i) => passesFilter(i.status, [i.id, i.node, i.address, ...i.tags]));
  const none = known.service.length > 0 ? "No instance matches the filter."
    : "No instance of this service is registered now. One that comes shows here by itself.";
  return {
    top: { title: route.name, trail, below: [...pages.badges(count(known.service.map((i) => i.status))), pages.tagList(tags)].filter(Boolean) },
    page: [pages.instanceSection("Instances", shown, limit, none, (i) => pages.instanceCard(i, { title: i.id, node: i.node }))],
  };
}

function nodePage() {
  const trail = [["Nodes", "#/nodes"]];
  if (known.node === null || known.nodeChecks === null) {
    return { top: { title: route.name, trail }, page: [pages.waiting("Asking the agent…")] };
  }
  const { Node: node } = known.node;
  if (!node) {
    return { top: { title: route.name, trail }, page: [pages.waiting("There is no such node now. One that comes by this name shows here by itself.")] };
  }
  const own = known.nodeChecks.filter((check) => check.ServiceID === "");
  const all = instancesOn(known.node, known.nodeChecks);
  const shown = all.filter((i) => passesFilter(i.status, [i.service, i.id, i.address, ...i.tags]));
  return {
    top: { title: node.Node, trail, below: [pages.badge(statusOf(own))] },
    page: [
      pages.nodeSection(node, own),
      pages.instanceSection("Services here", shown, limit, all.length > 0 ? "No service matches the filter." : "No service is on this node.",
        (i) => pages.instanceCard(i, { title: i.service, to: pages.linkTo.service(i.service), node: null })),
    ],
  };
}

// ---- addresses

// parse reads what comes after the # of an address.
function parse(hash) {
  const [, kind, ...rest] = hash.replace(/^#/, "").split("/");
  let name = "";
  try {
    name = decodeURIComponent(rest.join("/"));
  } catch {
    // Not an address this page makes: it shows the whole list.
  }
  if (kind !== "services" && kind !== "nodes") return { view: "all", name: "" };
  return name === "" ? { view: kind, name } : { view: kind === "services" ? "service" : "node", name };
}

// adopt takes over an address of the kind /ui/dc1/services/web/instances.
function adopt() {
  const [, dc, kind, name = ""] = /^\/ui\/([^/]+)\/(services|nodes)\/?([^/]*)/.exec(location.pathname) ?? [];
  if (dc) history.replaceState(null, "", `/ui/#/${kind}${name && `/${name}`}`);
}

function go() {
  route = parse(location.hash);
  limit = rowsAtOnce;
  known.service = known.node = known.nodeChecks = null;
  byId("words").value = "";
  byId("troubled").checked = false;
  byId("filter").hidden = false;
  document.title = route.name ? `${route.name} · Muster` : "Muster";
  for (const a of document.querySelectorAll("header nav a")) {
    const here = a.hash === `#/${route.view}` || a.hash === `#/${route.view}s`;
    if (here) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  restart();
}

// restart follows what the present page needs, anew.
function restart() {
  listening.abort();
  listening = new AbortController();
  silent.clear();
  faults.clear();
  draw();
  if (document.visibilityState === "hidden") return;
  follows[route.view](listening.signal);
  drawState(); // not live before the first answer
  followLeader(listening.signal);
  readSelf(listening.signal);
}

addEventListener("hashchange", () => {
  go();
  requestAnimationFrame(() => byId("top").querySelector("h1")?.focus());
  scrollTo(0, 0);
});
document.addEventListener("visibilitychange", restart);
byId("filter").addEventListener("submit", (event) => event.preventDefault());
byId("filter").addEventListener("input", () => { limit = rowsAtOnce; draw(); });
byId("page").addEventListener("click", (event) => {
  if (event.target.closest("[data-more]")) {
    limit *= 4;
    draw();
  }
});
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("top").querySelector("h1")?.focus();
});

adopt();
go();
