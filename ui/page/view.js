// Building the page. Everything that comes from outside is set as text.

export function element(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  e.append(...children.filter((child) => child !== null));
  return e;
}

export function note(text) {
  return element("p", { class: "note" }, text);
}

const symbols = { passing: "✓", warning: "!", critical: "✕" };

export function badge(status, text) {
  return element("span", { class: `badge ${status in symbols ? status : "critical"}` },
    element("span", { "aria-hidden": "true" }, symbols[status] ?? "✕"), ` ${text}`);
}

export function summary(counts) {
  const parts = element("span", { class: "summary" });
  for (const status of ["passing", "warning", "critical"]) {
    if (counts[status] > 0) parts.append(badge(status, `${counts[status]} ${status}`));
  }
  return parts;
}

export function chips(tags) {
  const list = element("span", { class: "chips" });
  for (const tag of tags) list.append(element("span", { class: "chip" }, tag));
  return list;
}

export function checkList(checks) {
  if (checks.length === 0) return element("span", { class: "quiet" }, "no checks");
  const list = element("ul", { class: "checks" });
  for (const check of checks) {
    const item = element("li", {}, badge(check.status, `${check.name}: ${check.status}`));
    if (check.output) item.append(element("pre", {}, check.output));
    list.append(item);
  }
  return list;
}

export function row(title, side, tags, count) {
  return element("summary", {},
    element("span", { class: "name" }, title), tags, element("span", { class: "quiet" }, count), side);
}

// keyed makes container hold one <details> a key, in order. Elements whose
// content is as before stay as they are, so that what is open stays open, and
// focus and selection aren't lost.
export function keyed(container, items, build) {
  const old = new Map();
  for (const child of [...container.children]) {
    if (child.dataset.key === undefined) child.remove();
    else old.set(child.dataset.key, child);
  }
  let at = container.firstElementChild;
  for (const item of items) {
    const content = JSON.stringify(item);
    let e = old.get(item.key);
    old.delete(item.key);
    if (!e) {
      e = element("details", {});
      e.dataset.key = item.key;
    }
    if (e.dataset.content !== content) {
      const focused = e.contains(document.activeElement);
      e.replaceChildren(...build(item));
      e.dataset.content = content;
      if (focused) e.firstElementChild.focus();
    }
    if (e === at) at = at.nextElementSibling;
    else container.insertBefore(e, at);
  }
  for (const gone of old.values()) gone.remove();
}
