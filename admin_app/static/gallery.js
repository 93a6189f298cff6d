// The pictures of a row: those on their way appear when they are ready, and a click shows one in large.

import { follow, isOpen } from "./picture_states.js";

const place = () => document.querySelector("[data-gallery]");
const shown = () => [...place().querySelectorAll("[data-picture]")];
const stateOf = (id) => shown().find((item) => item.dataset.picture === id)?.dataset.state;

const refresh = async () => {
  const response = await fetch(location.href).catch(() => null);
  const html = response?.ok && !response.redirected && (await response.text().catch(() => null));
  const fresh = html && new DOMParser().parseFromString(html, "text/html").querySelector("[data-gallery]");
  if (!fresh) return;
  const at = place().contains(document.activeElement) && document.activeElement.href;
  place().replaceWith(fresh);
  if (at) [...fresh.querySelectorAll("a")].find((link) => link.href === at)?.focus({ preventScroll: true });
};

follow(
  place().dataset.gallery,
  () => shown().filter((item) => isOpen(item.dataset.state)).map((item) => item.dataset.picture),
  async (images) => {
    if (images.some(({ id, state }) => state !== stateOf(id))) await refresh();
  },
);

// In large: the links lead to the files; a plain click on one opens it here, and the arrow keys go on.
const large = document.querySelector("[data-large]");
let current = null;
const open = (link) => {
  const links = [...place().querySelectorAll("a")];
  current = link;
  large.querySelector("img").src = link.dataset.show;
  large.querySelector("img").alt = link.title;
  large.querySelector("[data-name]").textContent = `${links.indexOf(link) + 1} of ${links.length}: ${link.title}`;
  for (const button of large.querySelectorAll("[data-step]")) button.hidden = links.length < 2;
};
const step = (by) => {
  const links = [...place().querySelectorAll("a")];
  open(links.at((links.findIndex(({ href }) => href === current.href) + by) % links.length));
};
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-gallery] a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  open(link);
  large.showModal();
});
large.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-step]");
  if (button) step(Number(button.dataset.step));
  else if (target === large) large.close(); // beside what it shows
});
large.addEventListener("keydown", ({ key }) => {
  if (key === "ArrowLeft") step(-1);
  if (key === "ArrowRight") step(1);
});
