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

// serversName is the name of the service that servers are.
const serversName = "consul";

// Catalog is an answer of /v1/internal/ui/nodes, with the instances by service.
export class Catalog {
  nodes;
  services = new Map(); // name → instances

  constructor(nodes) {
    this.nodes = nodes;
    for (const node of nodes) {
      for (const service of node.Services) {
        // A node's own checks speak for all that is on it.
        const checks = node.Checks.filter((check) => check.ServiceID === "" || check.ServiceID === service.ID);
        const instance = { node: node.Node, at: endpoint(node.Address, service.Port), tags: service.Tags ?? [], status: statusOf(checks) };
        if (!this.services.has(service.Service)) this.services.set(service.Service, []);
        this.services.get(service.Service).push(instance);
      }
    }
  }

  // servers are the instances that servers are.
  get servers() {
    return this.services.get(serversName) ?? [];
  }

  // serverAt names the node of the server with a cluster address, if it is known.
  serverAt(address) {
    return this.servers.find((server) => server.at === address)?.node;
  }
}

// serviceRows is the table of services.
export function serviceRows(catalog) {
  return [...catalog.services.keys()].sort(byName).map((name) => {
    const instances = catalog.services.get(name);
    const counts = count(instances.map((i) => i.status));
    const tags = [...new Set(instances.flatMap((i) => i.tags))].sort(byName);
    return { name, tags, instances: instances.length, counts, status: worstOf(counts) };
  });
}

// nodeRows is the table of nodes.
export function nodeRows(catalog, leader) {
  const roles = new Map(catalog.servers.map((i) => [i.node, i.at === leader ? "leader" : "server"]));
  return catalog.nodes.map((node) => ({
    name: node.Node,
    address: node.Address,
    version: node.Meta?.["consul-version"] ?? "",
    status: statusOf(node.Checks.filter((check) => check.ServiceID === "")),
    instances: node.Services.length,
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
