// The pictures of a form: chosen, described and put in order here, and sent with the form as one text.

import { follow, isOpen } from "./picture_states.js";
import { send } from "./uploads.js";

const MAX_PICTURES = 12;
const MAX_BYTES = 20 * 1024 * 1024;
const MAX_NAMES = 3;
const AT_ONCE = 3;

const place = document.querySelector("[data-pictures]");
const form = place.closest("form");
const part = (name) => place.querySelector(`[data-${name}]`);
const field = place.querySelector("input[type=hidden]");
const list = part("list");
const url = part("url");
const words = JSON.parse(place.dataset.words);
const blank = place.querySelector("template").content.firstElementChild;

const tiles = () => [...list.children];
// Of these, only the reason is shown: saving asks to remove them.
const USELESS = new Set(["refused", "uploading", "failed", "discarded", "gone"]);
const isUseless = (tile) => USELESS.has(tile.dataset.state);
const kept = () => tiles().filter((tile) => tile.dataset.state !== "refused");
const inTile = (tile, name) => tile.querySelector(`[data-${name}]`);
const numberOf = (tile) => tiles().indexOf(tile) + 1;
const say = (text) => {
  part("said").textContent = text;
};

// The field: [{"id", "alt"}], in the very words it came with as long as it says the same.
const stored = () => tiles().filter((tile) => tile.dataset.picture);
const asText = () =>
  JSON.stringify(stored().map((tile) => ({ id: tile.dataset.picture, alt: inTile(tile, "alt").value })));
const came = { text: asText(), value: field.value };
const write = () => {
  const text = asText();
  const value = text === came.text ? came.value : text;
  if (value === field.value) return;
  field.value = value;
  field.dispatchEvent(new Event("input", { bubbles: true }));
};

const number = () => {
  const all = tiles();
  const [main] = kept();
  for (const [at, tile] of all.entries()) {
    tile.classList.toggle("is-main", tile === main);
    for (const control of tile.querySelectorAll("[aria-label]")) {
      control.ariaLabel = control.ariaLabel.replace(/picture \d+$/, `picture ${at + 1}`);
    }
    inTile(tile, "do=earlier").disabled = at === 0;
    inTile(tile, "do=later").disabled = at === all.length - 1;
    inTile(tile, "do=main").hidden = tile === main || isUseless(tile);
  }
  list.hidden = all.length === 0;
};
const changed = () => {
  number();
  write();
};

const refuse = (what, message) => {
  part(`${what}-refused`).textContent = message;
  part(`${what}-refused`).hidden = !message;
};

const sources = new WeakMap(); // tile -> the file, or what is called by an address

const show = (tile, { state, reason = null, thumbnail = null }) => {
  tile.dataset.state = state;
  const told = reason ?? words[state] ?? "";
  const text = isUseless(tile) && sources.has(tile) ? `${sources.get(tile).name}: ${told}` : told;
  if (inTile(tile, "told").textContent !== text) inTile(tile, "told").textContent = text;
  inTile(tile, "frame").draggable = !isUseless(tile);
  if (!thumbnail || tile.querySelector("img")?.getAttribute("src") === thumbnail) return;
  const image = Object.assign(new Image(), { src: thumbnail, alt: "", draggable: false });
  inTile(tile, "frame").replaceChildren(image);
};

const newTile = (picture) => {
  const tile = blank.cloneNode(true);
  tile.dataset.picture = picture.id ?? "";
  inTile(tile, "alt").value = picture.alt ?? "";
  show(tile, picture);
  return tile;
};

const watch = follow(
  place.dataset.pictures,
  () => stored().filter((tile) => isOpen(tile.dataset.state)).map((tile) => tile.dataset.picture),
  (images) => {
    const news = [];
    for (const told of images) {
      const tile = stored().find((each) => each.dataset.picture === told.id);
      if (!tile) continue;
      const before = tile.dataset.state;
      show(tile, told);
      if (told.state === before || isOpen(told.state)) continue;
      number();
      news.push(`Picture ${numberOf(tile)}: ${told.state === "ready" ? "ready" : inTile(tile, "told").textContent}`);
    }
    if (news.length) say(news.join(" "));
  },
);

// Files: a few at once, the others in their turn. A tile shows one from the first moment on.
const queue = [];
const sending = new Map(); // tile -> what breaks its sending off
let isAsking = false; // whether an address is being looked at

const sendNext = () => {
  while (sending.size < AT_ONCE && queue.length) sendTile(queue.shift());
};
const sendTile = async (tile) => {
  const file = sources.get(tile);
  const bar = inTile(tile, "progress");
  const stop = new AbortController();
  sending.set(tile, stop);
  show(tile, { state: "sending", reason: `Uploading ${file.name}` });
  bar.hidden = false;
  const answer = await send(place.dataset.add, "file", file, (share) => { bar.value = share; }, stop.signal);
  sending.delete(tile);
  bar.hidden = true;
  if (tile.isConnected) settle(tile, file, answer);
  sendNext();
  release();
};
const settle = (tile, file, { picture, message, mayWork }) => {
  if (picture) {
    tile.dataset.picture = picture.id;
    show(tile, picture);
    changed();
    watch();
    return;
  }
  show(tile, { state: "refused", reason: message });
  inTile(tile, "do=again").hidden = !mayWork;
  hasFailed = true;
  changed();
  say(`${file.name} was not added. ${message}`);
};
const enqueue = (tile) => {
  show(tile, { state: "queued", reason: `Waiting to be uploaded: ${sources.get(tile).name}` });
  inTile(tile, "do=again").hidden = true;
  queue.push(tile);
  number();
  sendNext();
};

const notAdded = (why, left) => {
  if (left.length === 0) return [];
  const names = left.slice(0, MAX_NAMES).map(({ name }) => name).join(", ");
  const more = left.length > MAX_NAMES ? ` and ${left.length - MAX_NAMES} more` : "";
  return [`${why}, so not added: ${names}${more}.`];
};
const add = (chosen) => {
  const fitting = chosen.filter((file) => file.size <= MAX_BYTES);
  const large = chosen.filter((file) => file.size > MAX_BYTES);
  const room = Math.max(MAX_PICTURES - kept().length, 0);
  for (const file of fitting.slice(0, room)) {
    const tile = newTile({ state: "queued" });
    sources.set(tile, file);
    list.append(tile);
    enqueue(tile);
  }
  const tooMany = notAdded(`More than ${MAX_PICTURES} pictures`, fitting.slice(room));
  refuse("files", [...notAdded("More than 20 MB", large), ...tooMany].join(" "));
};

const addUrl = async () => {
  const address = url.value.trim();
  if (!address || isAsking) return url.focus();
  isAsking = part("add-url").disabled = url.readOnly = true;
  const { picture, message } =
    kept().length < MAX_PICTURES
      ? await send(place.dataset.add, "url", address)
      : { message: `At most ${MAX_PICTURES} pictures. Remove one first.` };
  isAsking = part("add-url").disabled = url.readOnly = false;
  if (picture) {
    url.value = "";
    const tile = newTile(picture);
    sources.set(tile, { name: address });
    list.append(tile);
    changed();
    watch();
    say(`Picture ${kept().length} was added.`);
  }
  refuse("url", message ?? "");
  url.setAttribute("aria-invalid", String(!picture));
  url.setAttribute("aria-describedby", picture ? "" : "images-url-refused");
  release();
};

// Saving waits for what is on its way, a typed address included, and does not go on if some of it was refused.
let held = null;
let hasFailed = false;
const isBusy = () => sending.size + queue.length > 0 || isAsking;
const isTyped = () => url.value.trim() !== "";
const wait = form.querySelector("[data-wait]");
document.addEventListener(
  "submit",
  (event) => {
    if (event.target !== form || !(isBusy() || isTyped())) return;
    event.preventDefault();
    event.stopPropagation();
    if (!held) hasFailed = false;
    held = event;
    form.classList.add("is-sending");
    wait.textContent = "Saving as soon as the pictures have arrived.";
    if (isTyped()) addUrl();
  },
  true,
);
const release = () => {
  if (!held || isBusy()) return;
  const { submitter } = held;
  held = null;
  form.classList.remove("is-sending");
  wait.textContent = "";
  if (isTyped()) {
    wait.textContent = "Not saved yet: correct or clear the address of a picture.";
    url.focus();
  } else if (hasFailed) {
    wait.textContent = "Not saved yet: a picture was not added.";
    place.scrollIntoView({ block: "nearest" });
  } else form.requestSubmit(submitter);
};
window.addEventListener("beforeunload", (event) => {
  if (isBusy() || isTyped()) event.preventDefault();
});

const remove = (tile) => {
  const next = tile.nextElementSibling ?? tile.previousElementSibling;
  const told = `Picture ${numberOf(tile)} was removed.`;
  sending.get(tile)?.abort();
  if (queue.includes(tile)) queue.splice(queue.indexOf(tile), 1);
  tile.remove();
  refuse("files", "");
  changed();
  say(told);
  (next ? inTile(next, "do=remove") : part("choose")).focus();
  release();
};

const ACTIONS = {
  main: (tile) => list.prepend(tile),
  earlier: (tile) => tile.previousElementSibling.before(tile),
  later: (tile) => tile.nextElementSibling.after(tile),
};
const moved = (tile) => {
  changed();
  say(`Now picture ${numberOf(tile)} of ${tiles().length}${tile.matches(".is-main") ? ", the main one" : ""}.`);
};
list.addEventListener("click", ({ target }) => {
  const button = target.closest("[data-do]");
  if (!button) return;
  const tile = button.closest(".picture");
  const { do: what } = button.dataset;
  if (what === "remove") return remove(tile);
  if (what === "again") return enqueue(tile);
  ACTIONS[what](tile);
  moved(tile);
  const other = what === "later" ? "earlier" : "later";
  (button.disabled || button.hidden ? inTile(tile, `do=${other}`) : button).focus();
});
list.addEventListener("input", write);

// By mouse: a tile goes where it is dragged, or back when it is let go elsewhere.
let dragged = null;
let before = [];
list.addEventListener("dragstart", (event) => {
  if (!event.target.matches?.(".picture-frame")) return;
  dragged = event.target.closest(".picture");
  before = tiles();
  event.dataTransfer.effectAllowed = "move";
  dragged.classList.add("is-dragged");
});
list.addEventListener("dragover", (event) => {
  const over = event.target.closest(".picture");
  if (!dragged) return;
  event.preventDefault();
  if (!over || over === dragged) return;
  if (numberOf(dragged) < numberOf(over)) over.after(dragged);
  else over.before(dragged);
});
list.addEventListener("dragend", ({ dataTransfer }) => {
  if (!dragged) return;
  dragged.classList.remove("is-dragged");
  if (dataTransfer.dropEffect === "none") list.replaceChildren(...before);
  else moved(dragged);
  dragged = null;
});

// Files may be dropped anywhere: a browser would leave the page to show them.
const hasFiles = (event) => !dragged && event.dataTransfer?.types.includes("Files");
window.addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  place.classList.add("is-over");
});
window.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) place.classList.remove("is-over");
});
window.addEventListener("drop", (event) => {
  if (dragged) event.preventDefault();
  if (!hasFiles(event)) return;
  event.preventDefault();
  place.classList.remove("is-over");
  add([...event.dataTransfer.files]);
});
document.addEventListener("paste", (event) => {
  const pasted = [...event.clipboardData.files];
  // Text copied from an office program brings a picture of itself along.
  if (pasted.length === 0 || event.clipboardData.types.includes("text/plain")) return;
  event.preventDefault();
  add(pasted);
});

part("choose").addEventListener("click", () => part("files").click());
part("files").addEventListener("change", ({ target }) => {
  add([...target.files]);
  target.value = "";
});
part("add-url").addEventListener("click", addUrl);
url.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing) return;
  event.preventDefault();
  addUrl();
});

for (const tile of tiles()) inTile(tile, "frame").draggable = !isUseless(tile);
number();
