// Answers of the agent made into what is shown: plain functions of plain data.

const badness = { passing: 0, warning: 1, critical: 2 };

// statusOf is what counts for something with these checks. An unknown status,
// such as maintenance, counts as critical.
export function statusOf(checks) {
  let worst = "passing";
  for (const check of checks) {
    const status = check.Status in badness ? check.Status : "critical";
    if (badness[status] > badness[worst]) worst = status;
  }
  return worst;
}

// count counts statuses.
export function count(statuses) {
  const counts = { passing: 0, warning: 0, critical: 0 };
  for (const status of statuses) counts[status] += 1;
  return counts;
}

// worstOf is the status of a whole of which the parts were counted.
export function worstOf(counts) {
  if (counts.critical > 0) return "critical";
  return counts.warning > 0 ? "warning" : "passing";
}

const place = (node, service) => JSON.stringify([node, service]);

// Checks are all checks, found by what they are about.
export class Checks {
  #at = new Map(); // place → checks
  #services = new Map(); // place → name of the service

  constructor(list) {
    for (const check of list) {
      const key = place(check.Node, check.ServiceID);
      if (!this.#at.has(key)) this.#at.set(key, []);
      this.#at.get(key).push(check);
      if (check.ServiceID) this.#services.set(key, check.ServiceName);
    }
  }

  ofNode(node) {
    return this.#at.get(place(node, "")) ?? [];
  }

  // statusOf is an instance's: its node's checks speak for it too.
  statusOf(instance) {
    return statusOf([...this.ofNode(instance.node), ...(this.#at.get(place(instance.node, instance.id)) ?? [])]);
  }

  // membersChangedSince names the services that have checks for other instances
  // than before, and so may have other instances.
  membersChangedSince(before) {
    const names = new Set();
    const compare = (a, b) => {
      for (const [key, name] of a) if (b.get(key) !== name) names.add(name);
    };
    compare(this.#services, before.#services);
    compare(before.#services, this.#services);
    return names;
  }
}

// serviceRows is the table of services. instances is null where a service's
// aren't known yet.
export function serviceRows(services, checks, members) {
  return [...services.keys()].sort(byName).map((name) => {
    const instances = members.of(name);
    const counts = count((instances ?? []).map((i) => checks.statusOf(i)));
    return { name, tags: services.get(name), instances: instances?.length ?? null, counts, status: worstOf(counts) };
  });
}

// nodeRows is the table of nodes. servers are the members of the service that
// servers are.
export function nodeRows(nodes, checks, services, members, leader) {
  const on = new Map();
  for (const name of services.keys()) {
    for (const i of members.of(name) ?? []) on.set(i.node, (on.get(i.node) ?? 0) + 1);
  }
  const roles = new Map();
  for (const i of members.of("consul") ?? []) {
    roles.set(i.node, endpoint(i.address, i.port) === leader ? "leader" : "server");
  }
  return nodes.map((node) => ({
    name: node.Node,
    address: node.Address,
    version: node.Meta?.["consul-version"] ?? "",
    status: statusOf(checks.ofNode(node.Node)),
    instances: on.get(node.Node) ?? 0,
    role: roles.get(node.Node) ?? "",
  }));
}

// instancesOf makes an answer of /v1/health/service into the instances shown.
export function instancesOf(entries) {
  return entries.map(({ Node, Service, Checks: checks }) => ({
    id: Service.ID,
    node: Node.Node,
    address: endpoint(Service.Address || Node.Address, Service.Port) || Service.SocketPath || "",
    kind: Service.Kind ?? "",
    tags: Service.Tags ?? [],
    meta: Object.entries(Service.Meta ?? {}),
    checks: checks ?? [],
    status: statusOf(checks ?? []),
  }));
}

// instancesOn makes what is on a node, of answers of /v1/catalog/node and
// /v1/health/node, into the instances shown.
export function instancesOn({ Node, Services }, checks) {
  const own = checks.filter((check) => check.ServiceID === "");
  return Object.values(Services ?? {}).map((Service) => {
    const its = checks.filter((check) => check.ServiceID === Service.ID);
    const [instance] = instancesOf([{ Node, Service, Checks: [...own, ...its] }]);
    return { ...instance, service: Service.Service, checks: its };
  }).sort((a, b) => byName(a.service, b.service) || byName(a.id, b.id));
}

// matches says whether one of the texts holds what someone typed.
export function matches(texts, typed) {
  const wanted = typed.trim().toLowerCase();
  return wanted === "" || texts.some((text) => text.toLowerCase().includes(wanted));
}

export function endpoint(address, port) {
  if (!port) return address;
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

export function byName(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}
