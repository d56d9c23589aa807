// What is made of the API's answers: plain functions of plain data.

const order = { passing: 0, warning: 1, critical: 2 };

// worst is the status that counts for something with these checks.
export function worst(checks) {
  let status = "passing";
  for (const check of checks) {
    if ((order[check.Status] ?? 2) > order[status]) status = check.Status in order ? check.Status : "critical";
  }
  return status;
}

// tally counts things by status.
export function tally(statuses) {
  const counts = { passing: 0, warning: 0, critical: 0 };
  for (const status of statuses) counts[status] += 1;
  return counts;
}

// instances makes a service's rows of an answer of /v1/health/service.
export function instances(entries) {
  return entries.map((entry) => ({
    id: entry.Service.ID,
    node: entry.Node.Node,
    address: endpoint(entry.Service.Address || entry.Node.Address, entry.Service.Port),
    tags: entry.Service.Tags ?? [],
    status: worst(entry.Checks ?? []),
    checks: (entry.Checks ?? []).map(brief),
  }));
}

// nodeRows joins nodes with their own checks and with the instances on them.
export function nodeRows(nodes, checks, services) {
  const byNode = new Map();
  for (const check of checks) {
    if (check.ServiceID) continue;
    if (!byNode.has(check.Node)) byNode.set(check.Node, []);
    byNode.get(check.Node).push(check);
  }
  const on = new Map();
  for (const [name, list] of services) {
    for (const instance of list) {
      if (!on.has(instance.node)) on.set(instance.node, new Set());
      on.get(instance.node).add(name);
    }
  }
  return nodes.map((node) => {
    const own = byNode.get(node.Node) ?? [];
    return {
      name: node.Node,
      id: node.ID,
      address: node.Address,
      status: worst(own),
      checks: own.map(brief),
      services: [...(on.get(node.Node) ?? [])].sort(),
    };
  });
}

// changedServices names the services of which a check differs between answers.
export function changedServices(before, after) {
  const key = (check) => `${check.Node}\n${check.CheckID}`;
  const known = new Map(before.map((check) => [key(check), check]));
  const names = new Set();
  for (const check of after) {
    const old = known.get(key(check));
    known.delete(key(check));
    if (!old || old.ModifyIndex !== check.ModifyIndex || old.Status !== check.Status || old.Output !== check.Output) {
      names.add(check.ServiceName);
      if (old) names.add(old.ServiceName);
    }
  }
  for (const gone of known.values()) names.add(gone.ServiceName);
  return names; // "" stands for node checks, which concern every service there
}

function brief(check) {
  return { name: check.Name || check.CheckID, status: check.Status, output: (check.Output ?? "").trim() };
}

function endpoint(address, port) {
  const host = address.includes(":") ? `[${address}]` : address;
  return port ? `${host}:${port}` : host;
}
