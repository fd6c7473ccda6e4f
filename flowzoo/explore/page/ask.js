// Questions to the server, one at a time, and telling what it is doing meanwhile.

/** The answer to an action; `tell` hears on the way what is being done. Throws an Error in words. */
export async function ask(action, request, tell = () => {}) {
  let response;
  try {
    response = await fetch(`/ask/${action}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(request),
    });
  } catch {
    throw new Error("The server does not answer. Is flowzoo explore still running?");
  }
  if (!response.ok) throw new Error((await response.json()).error);
  for await (const line of lines(response.body)) {
    if (line.error !== undefined) throw new Error(line.error);
    if (line.done !== undefined) return line.done;
    tell(line.doing);
  }
  throw new Error("The server stopped in the middle of its answer.");
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    let part;
    try {
      part = await reader.read();
    } catch {
      return;
    }
    if (part.done) return;
    const found = (rest + part.value).split("\n");
    rest = found.pop();
    for (const line of found) yield JSON.parse(line);
  }
}

const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

/**
 * A function that asks, shows the answer, and tells in a line what is being done and for how long:
 * work(action, request, show). While one answer is awaited the newest request waits, and older ones
 * are dropped, so that a slider leaves no queue behind. After `work.stop()` nothing is shown any more.
 */
export function worker(element) {
  let busy = false;
  let next = null;
  let stopped = false;

  async function run({ action, request, show }) {
    const started = performance.now();
    let words = "Asking";
    const say = (state, text) => stopped || write(element, state, text);
    const tell = () => say("busy", `${words} … ${seconds(started)}`);
    const timer = setInterval(tell, 100);
    tell();
    try {
      const answer = await ask(action, request, (doing) => {
        words = doing;
        tell();
      });
      say("done", `Took ${seconds(started)}`);
      if (!stopped) show(answer);
    } catch (error) {
      say("error", error.message);
    } finally {
      clearInterval(timer);
    }
  }

  async function work(action, request, show) {
    next = { action, request, show };
    if (busy) return;
    busy = true;
    while (next !== null && !stopped) {
      const job = next;
      next = null;
      await run(job);
    }
    busy = false;
  }
  work.stop = () => (stopped = true);
  return work;
}

/** Sets the words of a status line, and the state that its style shows. */
export function write(element, state, words) {
  element.dataset.state = state;
  element.textContent = words;
}
