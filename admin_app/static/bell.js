// The bell of the frame: while somebody looks at the page, it asks what has ended meanwhile.

const PAUSE_MS = 30_000;
const said = document.querySelector("[data-bell-said]");
let asked = Date.now();
let timer = null;

const bell = () => document.querySelector("[data-bell]");

const tell = (news) => {
  // On the page of an operation itself, the page tells.
  for (const item of [...news.children]) {
    if (item.querySelector("a").getAttribute("href") === location.pathname) item.remove();
  }
  if (!news.children.length) return;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "icon-button";
  close.title = "Close";
  close.setAttribute("aria-label", "Close");
  close.textContent = "×";
  close.addEventListener("click", () => {
    said.replaceChildren();
    bell().focus();
  });
  said.replaceChildren(news, close);
};

const update = (html) => {
  const template = document.createElement("template");
  template.innerHTML = html;
  const fresh = template.content.querySelector("[data-bell]");
  const old = bell();
  if (!fresh) return;
  if (location.pathname === old.pathname) fresh.setAttribute("aria-current", "page");
  if (old.outerHTML !== fresh.outerHTML) {
    const isFocused = old === document.activeElement;
    old.replaceWith(fresh);
    if (isFocused) fresh.focus({ preventScroll: true });
  }
  const news = template.content.querySelector("[data-news]");
  if (news) tell(news);
};

const ask = async () => {
  clearTimeout(timer);
  if (document.hidden) return;
  asked = Date.now();
  const { bell: address, since } = bell().dataset;
  const url = since ? `${address}?${new URLSearchParams({ since })}` : address;
  const response = await fetch(url, { redirect: "manual" }).catch(() => null);
  if (response && !response.ok && response.status < 500) return; // signed out: the next page says so
  const html = response?.ok && (await response.text().catch(() => null));
  if (html && !bell().matches(":active")) update(html); // else a click that has begun would be lost
  timer = setTimeout(ask, PAUSE_MS);
};

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(ask, Math.max(0, asked + PAUSE_MS - Date.now()));
});
timer = setTimeout(ask, PAUSE_MS);
