// Elements. What comes from outside is only ever a child, and so text.

// h makes an element. Children that are null are left out.
export function h(tag, attributes, ...children) {
  const e = document.createElement(tag);
  set(e, attributes, children);
  return e;
}

// drawing is h for pictures.
export function drawing(tag, attributes, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  set(e, attributes, children);
  return e;
}

function set(e, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null) e.setAttribute(name, value);
  }
  e.append(...children.flat().filter((child) => child !== null));
}

// become gives e the children of a newer version, changing only what differs, so
// that focus, selection, scrolling and what the reader opened stay. Children with
// a data-key are told apart by it, others by their place.
export function become(e, children) {
  const wanted = new Set(children.map(keyOf));
  const keyed = new Map();
  for (const child of [...e.children]) {
    const key = keyOf(child);
    if (key === undefined) continue;
    if (wanted.has(key)) keyed.set(key, child);
    else child.remove();
  }
  let at = e.firstChild;
  for (const next of children) {
    const key = keyOf(next);
    const known = key === undefined ? at : keyed.get(key);
    if (!known || !alike(known, next)) {
      e.insertBefore(next, at);
      continue;
    }
    if (known === at) at = at.nextSibling;
    else e.insertBefore(known, at);
    update(known, next);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function keyOf(node) {
  return node.dataset?.key;
}

function alike(a, b) {
  return a.nodeName === b.nodeName && keyOf(a) === keyOf(b);
}

function update(e, next) {
  if (e.nodeType === Node.TEXT_NODE) {
    if (e.data !== next.data) e.data = next.data;
    return;
  }
  for (const { name, value } of next.attributes) {
    if (name !== "open" && e.getAttribute(name) !== value) e.setAttribute(name, value);
  }
  for (const { name } of [...e.attributes]) {
    if (name !== "open" && !next.hasAttribute(name)) e.removeAttribute(name); // open is the reader's
  }
  become(e, [...next.childNodes]);
}
