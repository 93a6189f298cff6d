// What becomes of pictures on their way: asked for until every one is ready or has failed.

const OPEN = new Set(["waiting", "processing"]);
const QUICK_MS = 300;
const QUICK_TIMES = 10;
const USUAL_MS = 1000;
const HIDDEN_MS = 10_000;

export const isOpen = (state) => OPEN.has(state);

// `ids` says of which to ask, `show` takes the answers. Returns what to call when there is a new one.
export const follow = (url, ids, show) => {
  let timer = null;
  let round = 0;
  let times = 0;
  const pause = () => (document.hidden ? HIDDEN_MS : times++ < QUICK_TIMES ? QUICK_MS : USUAL_MS);
  const ask = async () => {
    const mine = ++round;
    const asked = ids().map((id) => ["id", id]);
    if (asked.length === 0) return;
    const response = await fetch(`${url}?${new URLSearchParams(asked)}`).catch(() => null);
    // Whoever is signed out is led to another page, and may be signed in again a little later.
    const answer = response?.ok && !response.redirected && (await response.json().catch(() => null));
    if (answer) await show(answer.images);
    if (mine === round) timer = setTimeout(ask, answer ? pause() : HIDDEN_MS);
  };
  const start = () => {
    clearTimeout(timer);
    round += 1;
    times = 0;
    timer = setTimeout(ask, QUICK_MS);
  };
  document.addEventListener("visibilitychange", () => document.hidden || start());
  start();
  return start;
};
