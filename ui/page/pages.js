import { h, drawing } from "./dom.js";
import { path } from "./agent.js";
import { worstOf, count } from "./model.js";

// The pages and their parts. Each function makes elements of what it is given.

const statuses = ["passing", "warning", "critical"];
const signs = { passing: "✓", warning: "!", critical: "✕" };
const tagsShown = 6;

export const linkTo = {
  service: (name) => `#/services${path(name)}`,
  node: (name) => `#/nodes${path(name)}`,
};

// name shows a name that someone else gave. Its writing direction ends with it.
function name(text) {
  return h("bdi", { class: "name" }, text);
}

function quiet(text) {
  return text ? h("span", { class: "quiet" }, name(text)) : null;
}

function link(to, text) {
  return h("a", { href: to }, name(text));
}

// plural counts things in words.
export function plural(n, noun) {
  return `${n.toLocaleString("en")} ${noun}${n === 1 ? "" : "s"}`;
}

export function badge(status, text = status) {
  const known = statuses.includes(status) ? status : "critical";
  return h("span", { class: `badge ${known}` }, h("span", { "aria-hidden": "true" }, signs[known]), ` ${text}`);
}

export function badges(counts) {
  return statuses.filter((s) => counts[s] > 0).map((s) => badge(s, `${counts[s]} ${s}`));
}

export function tagList(tags, most = Infinity) {
  if (tags.length === 0) return null;
  const items = tags.slice(0, most).map((tag) => h("li", {}, name(tag)));
  if (tags.length > most) items.push(h("li", { class: "more" }, `${tags.length - most} more`));
  return h("ul", { class: "tags", "aria-label": "Tags" }, items);
}

// meter draws shares of health.
function meter(counts) {
  const all = statuses.reduce((sum, s) => sum + counts[s], 0) || 1;
  let x = 0;
  const bars = statuses.filter((s) => counts[s] > 0).map((s) => {
    const bar = drawing("rect", { class: s, x: String(x), width: String((100 * counts[s]) / all), height: "6" });
    x += (100 * counts[s]) / all;
    return bar;
  });
  return drawing("svg", { class: "meter", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" }, ...bars);
}

// ---- tables. The roles keep them tables for readers where a narrow screen lays
// them out as cards.

function table(label, columns, rows) {
  return h("table", { role: "table", "aria-label": label },
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" },
      columns.map(({ title, kind }) => h("th", { role: "columnheader", scope: "col", class: kind ?? null }, title)))),
    h("tbody", { role: "rowgroup" }, rows));
}

function cell({ title, kind }, ...content) {
  return h("td", { role: "cell", class: kind ?? null, "data-title": title }, ...content);
}

function numberCell(column, n) {
  const kind = ["number", n > 0 ? column.status ?? null : "none"].filter(Boolean).join(" ");
  return cell({ ...column, kind }, n.toLocaleString("en"));
}

const serviceColumns = [
  { title: "Service" },
  { title: "Tags" },
  { title: "Instances", kind: "number" },
  { title: "Passing", kind: "number", status: "passing" },
  { title: "Warning", kind: "number", status: "warning" },
  { title: "Critical", kind: "number", status: "critical" },
  { title: "Health", kind: "meters" },
];

function serviceRow(s) {
  const [, tags, instances, ...counts] = serviceColumns;
  const health = counts.pop();
  return h("tr", { role: "row", "data-key": s.name, class: s.status },
    h("th", { role: "rowheader", scope: "row" }, link(linkTo.service(s.name), s.name)),
    cell({ ...tags, kind: s.tags.length > 0 ? "taglist" : "taglist empty" }, tagList(s.tags, tagsShown)),
    numberCell(instances, s.instances),
    counts.map((column) => numberCell(column, s.counts[column.status])),
    cell(health, meter(s.counts)));
}

const nodeColumns = [
  { title: "Node" },
  { title: "Role", kind: "role" },
  { title: "Address" },
  { title: "Health" },
  { title: "Instances", kind: "number" },
  { title: "Consul API", kind: "version" },
];

function nodeRow(n) {
  const [, role, address, health, instances, version] = nodeColumns;
  return h("tr", { role: "row", "data-key": n.name, class: n.status },
    h("th", { role: "rowheader", scope: "row" }, link(linkTo.node(n.name), n.name)),
    cell({ ...role, kind: n.role ? "role" : "role empty" }, n.role ? h("span", { class: `role-of ${n.role}` }, n.role) : null),
    cell(address, h("code", {}, name(n.address))),
    cell(health, badge(n.status)),
    numberCell(instances, n.instances),
    cell({ ...version, kind: n.version ? "version" : "version empty" }, n.version ? name(n.version) : null));
}

// section shows what passed the filter, as far as it was asked for.
function section({ id, title, of, shown, limit, rows, none }) {
  const tally = shown.length === of ? of.toLocaleString("en") : `${shown.length.toLocaleString("en")} of ${of.toLocaleString("en")}`;
  return h("section", { "aria-labelledby": id, "data-key": id },
    h("h2", { id }, title, h("span", { class: "tally" }, tally)),
    shown.length > 0 ? h("div", { class: "card" }, rows(shown.slice(0, limit))) : h("p", { class: "panel quiet" }, none),
    moreButton(shown.length - limit));
}

function moreButton(hidden) {
  return hidden > 0 ? h("button", { type: "button", "data-more": "" }, `Show more: ${hidden.toLocaleString("en")} are hidden`) : null;
}

export function servicesSection(all, shown, limit) {
  return section({
    id: "services", title: "Services", of: all.length, shown, limit,
    rows: (list) => table("Services", serviceColumns, list.map(serviceRow)),
    none: "No service matches the filter.",
  });
}

export function nodesSection(all, shown, limit) {
  return section({
    id: "nodes", title: "Nodes", of: all.length, shown, limit,
    rows: (list) => table("Nodes", nodeColumns, list.map(nodeRow)),
    none: all.length > 0 ? "No node matches the filter." : "No node is registered yet. They come as soon as the cluster has a leader.",
  });
}

// firstService tells how to register one.
export function firstService(origin) {
  const line = `curl -X PUT ${origin}/v1/agent/service/register \\\n  -d '{"Name": "web", "Port": 8080}'`;
  return h("section", { class: "panel", "data-key": "first", "aria-labelledby": "first" },
    h("h2", { id: "first" }, "Register the first service"),
    h("p", {}, "No service of yours is here yet. Tell this agent of one, and it shows below by itself:"),
    h("pre", { tabindex: "0", "aria-label": "Command" }, line));
}

export function waiting(text) {
  return h("p", { class: "panel quiet", "data-key": "waiting" }, text);
}

// ---- the top of each page

// heading is a page's title, with what it is part of and what it comes to.
export function heading({ title, trail = [], below = [], own = false }) {
  const crumbs = trail.length > 0
    ? h("nav", { class: "trail", "aria-label": "Breadcrumb" }, trail.map(([text, to]) => h("a", { href: to }, text)))
    : null;
  return [crumbs, h("h1", { tabindex: "-1", "data-key": "title" }, own ? title : name(title)), h("div", { class: "lead" }, below)]
    .filter((e) => e !== null);
}

// summary says how everything is, as far as it is known.
export function summary(services, nodes) {
  const counts = count([]);
  for (const s of services) for (const status of statuses) counts[status] += s.counts[status];
  const troubled = nodes.filter((n) => n.status !== "passing").length;
  if (worstOf(counts) === "passing" && troubled === 0) {
    return [badge("passing", counts.passing === 1 ? "The one instance is passing" : `All ${plural(counts.passing, "instance")} are passing`)];
  }
  const parts = statuses.filter((s) => counts[s] > 0).map((s) => badge(s, `${plural(counts[s], "instance")} ${s}`));
  if (troubled > 0) parts.push(h("span", {}, `${plural(troubled, "node")} not passing`));
  return parts;
}

// ---- an instance, and a node

// instanceCard shows an instance with its checks. title is what tells it from
// the others on the page; node is where it runs, null where the page says that.
export function instanceCard(i, { title, to, node }) {
  const facts = [];
  if (node) facts.push(["Node", link(linkTo.node(node), node)]);
  if (i.address) facts.push(["Address", h("code", {}, name(i.address))]);
  if (to) facts.push(["Instance", name(i.id)]);
  if (i.kind) facts.push(["Kind", name(i.kind)]);
  for (const [key, value] of i.meta) facts.push([key, name(value)]);
  return h("article", { class: `card instance ${i.status}`, "data-key": JSON.stringify([i.node, i.id]) },
    h("header", {}, h("h3", {}, to ? link(to, title) : name(title)), badge(i.status)),
    factList(facts), tagList(i.tags), checkList(i.checks, "of the node"));
}

function factList(facts) {
  return facts.length === 0 ? null : h("dl", { class: "facts" },
    facts.map(([term, value]) => h("div", {}, h("dt", {}, name(term)), h("dd", {}, value))));
}

// checkList shows checks, and says ofNode beside those that speak for a whole
// node. What isn't passing is open from the start.
function checkList(checks, ofNode = "") {
  if (checks.length === 0) return h("p", { class: "quiet nocheck" }, "No checks of its own.");
  return h("ul", { class: "checks", "aria-label": "Checks" }, checks.map((check) => {
    const output = (check.Output ?? "").trim();
    const line = [badge(check.Status), name(check.Name || check.CheckID), quiet(check.ServiceID ? check.Type : ofNode)];
    const key = JSON.stringify([check.Node, check.CheckID, check.Status]); // opens anew when it changes
    if (output === "" && !check.Notes) return h("li", { "data-key": key }, h("p", { class: "line" }, line));
    return h("li", { "data-key": key },
      h("details", { open: check.Status === "passing" ? null : "" },
        h("summary", { class: "line" }, line),
        check.Notes ? h("p", { class: "quiet" }, name(check.Notes)) : null,
        output ? h("pre", { tabindex: "0", "aria-label": "Output" }, name(output)) : null));
  }));
}

// instanceSection shows instances, as far as they were asked for.
export function instanceSection(title, instances, limit, none, card) {
  return h("section", { "aria-labelledby": "instances", "data-key": "instances" },
    h("h2", { id: "instances" }, title, h("span", { class: "tally" }, instances.length.toLocaleString("en"))),
    instances.length > 0 ? h("div", { class: "cards" }, instances.slice(0, limit).map(card)) : h("p", { class: "panel quiet" }, none),
    moreButton(instances.length - limit));
}

// nodeSection shows a node with its own checks.
export function nodeSection(node, checks) {
  const facts = [["Address", h("code", {}, name(node.Address))]];
  if (node.ID) facts.push(["ID", h("code", {}, name(node.ID))]);
  for (const [key, value] of Object.entries(node.Meta ?? {})) if (value) facts.push([key, name(value)]);
  return h("section", { "aria-labelledby": "node", "data-key": "node" },
    h("h2", { id: "node" }, "Node"),
    h("div", { class: "card instance" }, factList(facts), checkList(checks)));
}
