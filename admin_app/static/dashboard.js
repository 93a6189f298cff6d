// The start page: each tile is read again by itself, while somebody may be looking.

const PAUSE_MS = 30_000;

const replace = (tile, html) => {
  const template = document.createElement("template");
  template.innerHTML = html;
  const fresh = template.content.firstElementChild;
  if (!fresh || fresh.outerHTML === tile.outerHTML) return;
  const [old, now] = [tile, fresh].map((each) => each.querySelector("details"));
  const [rows, freshRows] = [tile, fresh].map((each) => each.querySelector(".chart-rows"));
  const scrolled = rows?.scrollTop;
  if (old && now) now.open = old.open;
  tile.replaceWith(fresh);
  if (scrolled && freshRows) freshRows.scrollTop = scrolled;
};

// What has the focus, or is being clicked or marked, stays as it is until the next time.
const isInUse = (tile) =>
  tile.contains(document.activeElement) || tile.matches(":active") || (!getSelection().isCollapsed && getSelection().containsNode(tile, true));

const refresh = async (tile) => {
  const response = await fetch(tile.dataset.tile).catch(() => null);
  if (response?.redirected) return false; // signed out: the next click leads to the door
  const html = response?.ok && (await response.text().catch(() => null));
  if (html && tile.isConnected && !isInUse(tile)) replace(tile, html);
  return true;
};

const refreshAll = async () => {
  for (const tile of document.querySelectorAll("[data-tile]")) {
    if (document.hidden) return;
    if (!isInUse(tile) && !(await refresh(tile))) return;
  }
};

// One round after the other; back from elsewhere, at once.
let next = Date.now() + PAUSE_MS;
const look = async () => {
  if (document.hidden || Date.now() < next) return;
  next = Infinity;
  await refreshAll();
  next = Date.now() + PAUSE_MS;
};
setInterval(look, 1000);
document.addEventListener("visibilitychange", look);
