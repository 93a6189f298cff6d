// Quick search as one types: Ctrl or Cmd with K on every page, or the field beside it.

const PAUSE = 120; // milliseconds without a key before asking
const SLOW = 300; // milliseconds after which waiting is shown
const OFFLINE = "The site cannot be reached. Check your connection and try again.";
const FAILED = "Searching did not work just now. Try again.";

const dialog = document.getElementById("quick-search");
const opener = document.querySelector("[data-quick-open]");
if (dialog && opener) start();

function start() {
  const input = dialog.querySelector("[role=combobox]");
  const list = dialog.querySelector("[data-list]");
  const status = dialog.querySelector("[data-status]");
  let options = [];
  let active = -1;
  let shown = null; // the text the list belongs to
  let asking = null;
  let pause = null;
  let opensFirst = false; // Enter was quicker than the answer

  const choose = (index) => {
    options[active]?.setAttribute("aria-selected", "false");
    active = options.length ? (index + options.length) % options.length : -1;
    const option = options[active];
    if (!option) return input.removeAttribute("aria-activedescendant");
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", option.id);
  };

  const show = (html, text) => {
    list.innerHTML = html;
    options = [...list.querySelectorAll("a")];
    const box = list.querySelector("ul");
    box?.setAttribute("role", "listbox");
    box?.setAttribute("aria-label", "Results");
    options.forEach((option, index) => {
      option.id = `quick-${index}`;
      option.tabIndex = -1;
      option.setAttribute("role", "option");
      option.setAttribute("aria-selected", "false");
      option.parentElement.setAttribute("role", "presentation");
      option.addEventListener("pointermove", () => index !== active && choose(index));
    });
    if (box) box.id = "quick-options";
    input.setAttribute("aria-controls", box ? "quick-options" : "quick-list");
    input.setAttribute("aria-expanded", String(options.length > 0));
    shown = text;
    choose(0);
    list.scrollTop = 0;
    const count = options.length === 1 ? "1 result" : `${options.length} results`;
    const note = list.querySelector(".quick-note")?.textContent ?? "";
    status.textContent = options.length ? (note ? `${count}. ${note}` : count) : list.textContent.trim();
    if (opensFirst) options[0]?.click();
    opensFirst = false;
  };

  const complain = (sentence) => {
    const notice = document.createElement("p");
    notice.className = "notice notice-danger quick-notice";
    notice.textContent = sentence;
    show(notice.outerHTML, null);
  };

  const ask = async () => {
    clearTimeout(pause);
    pause = null;
    asking?.abort();
    const text = input.value.trim();
    const mine = (asking = new AbortController());
    const waiting = setTimeout(() => {
      dialog.classList.add("is-loading");
      status.textContent = "Searching…";
    }, SLOW);
    try {
      const url = `${dialog.dataset.url}?${new URLSearchParams({ q: text })}`;
      const response = await fetch(url, { headers: { "X-Fragment": "results" }, signal: mine.signal });
      // Signed out meanwhile: the page itself says so.
      if (response.redirected) return location.reload();
      const html = await response.text();
      if (mine !== asking) return;
      if (response.ok || response.status === 400) show(html, text);
      else complain(FAILED);
    } catch (error) {
      if (error.name !== "AbortError") complain(OFFLINE);
    } finally {
      clearTimeout(waiting);
      if (mine === asking) {
        asking = null;
        dialog.classList.remove("is-loading");
      }
    }
  };

  const open = (text = "") => {
    if (!dialog.open) dialog.showModal();
    if (text) input.value = text;
    input.select();
    if (text) input.setSelectionRange(text.length, text.length);
    if (shown !== input.value.trim()) ask();
  };

  const enter = () => {
    if (!asking && pause === null && shown === input.value.trim()) return options[active]?.click();
    opensFirst = true;
    if (!asking || pause !== null) ask();
  };

  const KEYS = {
    ArrowDown: () => choose(active + 1),
    ArrowUp: () => choose(active - 1),
    Home: () => choose(0),
    End: () => choose(options.length - 1),
    Enter: enter,
  };

  input.addEventListener("input", () => {
    opensFirst = false;
    clearTimeout(pause);
    pause = setTimeout(ask, PAUSE);
  });
  input.addEventListener("keydown", (event) => {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (!Object.hasOwn(KEYS, event.key)) return;
    event.preventDefault();
    KEYS[event.key]();
  });
  dialog.addEventListener("close", () => {
    clearTimeout(pause);
    pause = null;
    asking?.abort();
    opensFirst = false;
  });
  // Where the browser does not know closedby: a click beside the box closes it.
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  // Back on the page, it starts closed.
  window.addEventListener("pagehide", () => dialog.close());

  const field = opener.querySelector("input");
  field.addEventListener("click", () => open());
  field.addEventListener("input", () => {
    open(field.value);
    field.value = "";
  });
  opener.addEventListener("submit", (event) => {
    event.preventDefault();
    open();
  });
  const isApple = /Mac|iPhone|iPad/.test(navigator.platform);
  if (isApple) opener.querySelector("[data-quick-key]").textContent = "⌘ K";
  document.addEventListener("keydown", (event) => {
    const isOurs = event.key.toLowerCase() === "k" && (event.ctrlKey || event.metaKey);
    if (!isOurs || event.shiftKey || event.altKey) return;
    event.preventDefault();
    if (dialog.open) dialog.close();
    else if (!document.querySelector("dialog[open]")) open();
  });
}
