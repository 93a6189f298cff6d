// A bulk operation, followed while it runs.

const PAUSE_MS = 1000;
const place = document.querySelector("[data-live]");
const said = document.querySelector("[data-said]");
const part = (name) => place.querySelector(`[data-part="${name}"]`);
const isActive = () => "active" in part("head").dataset;
const keyOf = (element) => element.href ?? element.form?.action;

// Only parts with something new are replaced, so that buttons and the focus stay where they are. Where the
// one with the focus is gone, nothing else may be in its place when somebody presses Enter.
const update = (html) => {
  const template = document.createElement("template");
  template.innerHTML = html;
  const { state } = part("head").dataset;
  for (const fresh of template.content.querySelectorAll("[data-part]")) {
    const old = part(fresh.dataset.part);
    if (old.outerHTML === fresh.outerHTML) continue;
    const focused = old.contains(document.activeElement) && keyOf(document.activeElement);
    old.replaceWith(fresh);
    if (focused === false) continue;
    const same = [...fresh.querySelectorAll("a, button")].find((element) => keyOf(element) === focused);
    (same ?? place.querySelector("h1")).focus({ preventScroll: true });
  }
  const now = part("head").dataset;
  if (now.state !== state) said.textContent = now.said;
};

const refresh = async () => {
  const response = await fetch(place.dataset.live).catch(() => null);
  if (response?.redirected || (response && response.status >= 400 && response.status < 500)) {
    location.reload(); // signed out, or gone: the page itself says so
    return;
  }
  const html = response?.ok && (await response.text().catch(() => null));
  if (html && !place.matches(":active")) update(html); // else a click that has begun would be lost
  if (isActive()) setTimeout(refresh, PAUSE_MS);
};

if (isActive()) setTimeout(refresh, PAUSE_MS / 4);

// Just confirmed: what was ticked on the list has been dealt with.
if (document.referrer && new URL(document.referrer).pathname === location.pathname) {
  for (const key of Object.keys(sessionStorage)) {
    if (key.startsWith(`selection:${place.dataset.list}?`)) sessionStorage.removeItem(key);
  }
}
