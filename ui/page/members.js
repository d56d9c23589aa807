import { ask, path, pause } from "./agent.js";

const lanes = 2; // questions at a time
const round = 15_000; // ms in which each service is asked for again
const closest = 100; // ms between two such questions, at the least: many services take longer

// Members knows which instances each service has. It asks for the services that
// are said to have changed at once, and for all of them round by round.
export class Members {
  #known = new Map(); // name → instances
  #urgent = new Set();
  #rest = []; // of this round
  #wake = new AbortController();
  #onChange;

  constructor(onChange) {
    this.#onChange = onChange;
  }

  // of gives the instances of a service, undefined where they aren't known yet.
  of(name) {
    return this.#known.get(name);
  }

  // on names the services that have an instance on a node.
  on(node) {
    return [...this.#known].filter(([, list]) => list.some((i) => i.node === node)).map(([name]) => name);
  }

  // ask has services asked for now.
  ask(names) {
    for (const name of names) this.#urgent.add(name);
    this.#wake.abort();
  }

  // keep forgets all but these services.
  keep(names) {
    for (const name of this.#known.keys()) if (!names.has(name)) this.#known.delete(name);
    for (const name of this.#urgent) if (!names.has(name)) this.#urgent.delete(name);
    this.#rest = this.#rest.filter((name) => names.has(name));
  }

  // run asks until signal ends it. names gives the services there are.
  run(signal, names) {
    for (let lane = 0; lane < lanes; lane += 1) this.#lane(signal, names);
  }

  async #lane(signal, names) {
    while (!signal.aborted) {
      let [name] = this.#urgent;
      if (name === undefined) {
        this.#wake = this.#wake.signal.aborted ? new AbortController() : this.#wake;
        const all = names();
        await pause(lanes * Math.max(round / Math.max(all.length, 1), closest), AbortSignal.any([signal, this.#wake.signal]));
        if (this.#urgent.size > 0 || signal.aborted) continue;
        if (this.#rest.length === 0) this.#rest = names();
        name = this.#rest.shift();
        if (name === undefined) continue;
      }
      this.#urgent.delete(name);
      await this.#read(name, signal);
    }
  }

  async #read(name, signal) {
    try {
      const { data } = await ask(`/v1/catalog/service${path(name)}`, signal);
      if (signal.aborted) return;
      this.#known.set(name, data.map((i) => ({ node: i.Node, id: i.ServiceID, address: i.Address, port: i.ServicePort })));
      this.#onChange();
    } catch {
      // The page's own queries say what is wrong; this one has its turn again.
      await pause(1000, signal);
    }
  }
}
