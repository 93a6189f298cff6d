// Keys for whoever would rather not reach for the mouse. They use what the page offers: links, boxes, fields.

const PLACE = "row"; // in the session: the row somebody was at, and on which page
const FIELDS = "input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]";

const rows = () => [...document.querySelectorAll("[data-row]")];
const linkOf = (row) => row.querySelector(".row-link");
const here = () => location.pathname + location.search;

// Where the focus is, else where the keys went last.
const current = () => document.activeElement.closest("[data-row]") ?? document.querySelector(".is-current");

const mark = (row) => {
  for (const other of document.querySelectorAll(".is-current")) other.classList.remove("is-current");
  row.classList.add("is-current");
  row.scrollIntoView({ block: "nearest" });
};

const step = (by) => {
  const all = rows();
  if (all.length === 0) return;
  const at = all.indexOf(current());
  const row = all[at < 0 ? 0 : Math.min(Math.max(at + by, 0), all.length - 1)];
  mark(row);
  const link = linkOf(row);
  link?.focus({ preventScroll: true });
  if (link) sessionStorage.setItem(PLACE, JSON.stringify([here(), link.pathname]));
};

const follow = (selector) => document.querySelector(selector)?.click();

const KEYS = {
  "/": () => (document.getElementById("search") ?? document.querySelector("[data-quick-search]"))?.select(),
  n: () => follow("main a[href$='/create']"),
  j: () => step(1),
  k: () => step(-1),
  x: () => current()?.querySelector("input[name=ids]")?.click(),
  e: () => (current()?.querySelector("[data-edit]") ?? document.querySelector("main .page-head [data-edit]"))?.click(),
  i: () => current()?.querySelector("[data-inline-start]")?.click(),
  o: () => current() && linkOf(current())?.click(),
  "?": () => document.getElementById("keys")?.showModal(),
};

document.addEventListener("keydown", (event) => {
  const { target } = event;
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.defaultPrevented) return;
  if (target.closest(FIELDS) || document.querySelector("dialog[open]")) return;
  // Whatever has the focus knows best what Enter does.
  const key = event.key === "Enter" && target === document.body ? "o" : event.key;
  if (!Object.hasOwn(KEYS, key)) return;
  event.preventDefault();
  KEYS[key]();
});

for (const button of document.querySelectorAll("[data-keys]")) {
  button.addEventListener("click", KEYS["?"]);
}

// Back on the page: go on where one was. The focus follows only those who came by the Back button.
window.addEventListener("pageshow", (event) => {
  const [page, path] = JSON.parse(sessionStorage.getItem(PLACE) ?? "[]");
  const row = page === here() && rows().find((row) => linkOf(row)?.pathname === path);
  if (!row) return;
  mark(row);
  const [visit] = performance.getEntriesByType("navigation");
  if (event.persisted || visit?.type === "back_forward") linkOf(row).focus({ preventScroll: true });
});
