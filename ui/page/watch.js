// watch keeps asking one endpoint with blocking queries and hands each new
// answer to onData; trouble goes to onError, after which it tries again with
// growing pauses. While the page is hidden it rests.
export async function watch(path, onData, onError) {
  let index = 0;
  let failures = 0;
  for (;;) {
    await visible();
    try {
      const url = new URL(path, location.origin);
      if (index > 0) {
        url.searchParams.set("index", String(index));
        url.searchParams.set("wait", "60s");
      }
      const answer = await fetch(url, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error(`${answer.status}: ${(await answer.text()).trim()}`);
      const data = await answer.json();
      const next = Number(answer.headers.get("X-Consul-Index")) || 0;
      const changed = next !== index;
      index = next < index ? 0 : next; // an index that goes back means a new history
      failures = 0;
      onData(data, changed);
      if (next === 0) await pause(2000); // nothing to block on
    } catch (error) {
      index = 0;
      failures += 1;
      onError(error);
      await pause(Math.min(500 * 2 ** failures, 10000));
    }
  }
}

// get asks once.
export async function get(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`${answer.status}: ${(await answer.text()).trim()}`);
  return answer.json();
}

export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function visible() {
  if (document.visibilityState !== "hidden") return Promise.resolve();
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true });
  });
}
