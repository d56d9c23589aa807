// Asking the agent: once, or for as long as someone listens.

const longest = 20; // seconds that a blocking query waits
const patience = 45_000; // ms without an answer after which the agent counts as gone
const settle = 300; // ms between the answers to one query, at the least
const firstBackoff = 500; // ms
const lastBackoff = 20_000; // ms

// Refusal is an answer that isn't 200.
export class Refusal extends Error {
  constructor(status, text) {
    super(text.trim().slice(0, 300) || `status ${status}`);
    this.status = status;
  }
}

// path joins the parts of a path, each of which may hold anything.
export function path(...parts) {
  return parts.map((part) => `/${encodeURIComponent(part)}`).join("");
}

// ask asks once. index is 0 where the answer has none.
export async function ask(url, signal) {
  const answer = await fetch(url, {
    headers: { Accept: "application/json" },
    cache: "no-store",
    signal: AbortSignal.any([signal, AbortSignal.timeout(patience)]),
  });
  if (!answer.ok) throw new Refusal(answer.status, await answer.text());
  const index = Number(answer.headers.get("X-Consul-Index"));
  return { data: await answer.json(), index: index > 0 ? index : 0 };
}

// follow hands on each new answer to a query, until signal ends it. After a
// fault it begins anew, from an index of 0: the agent may have a new history.
export async function follow(url, signal, { onAnswer, onAlive, onFault }) {
  let index = 0;
  let faults = 0;
  while (!signal.aborted) {
    let answer;
    try {
      answer = await ask(index > 0 ? `${url}?index=${index}&wait=${longest}s` : url, signal);
    } catch (fault) {
      if (signal.aborted) return;
      index = 0;
      faults += 1;
      onFault(fault);
      await pause(backoff(faults), signal);
      continue;
    }
    if (signal.aborted) return;
    faults = 0;
    onAlive();
    if (index === 0 || answer.index !== index) onAnswer(answer.data);
    // One that goes back belongs to another history, of which all is asked for.
    index = answer.index < index ? 0 : answer.index;
    await pause(index > 0 ? settle : 5000, signal);
  }
}

// backoff is a random time of which the bound doubles with each fault, so that
// the pages of many readers don't come back to an agent all at once.
function backoff(faults) {
  const bound = Math.min(firstBackoff * 2 ** (faults - 1), lastBackoff);
  return bound / 2 + (Math.random() * bound) / 2;
}

// pause waits. It ends early with signal, and when the machine is online again.
export function pause(ms, signal) {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    addEventListener("online", done);
  });
}

// inWords says what is wrong to someone who wants to do something about it.
export function inWords(fault) {
  if (fault instanceof Refusal) {
    if (/no cluster leader/i.test(fault.message)) return "The cluster has no leader at the moment.";
    if (fault.status === 403) return `The agent doesn’t allow this: ${fault.message}.`;
    if (fault.status === 429) return "The agent refuses more connections from this machine.";
    return `The agent answers with an error: ${fault.message}.`;
  }
  if (fault.name === "TimeoutError") return "The agent doesn’t answer any more.";
  if (fault instanceof SyntaxError) return "What answers here isn’t an agent.";
  if (!navigator.onLine) return "This machine is offline.";
  return "The agent can’t be reached.";
}
