// Sending a file of rows: too large a one is not sent at all, and a large one shows how far it is.

const SIGNED_OUT = "You were signed out. Sign in in another tab, then try again.";
const NOT_ARRIVED = "It did not arrive. Check the connection, then try again.";
const OTHERWISE = "It could not be taken just now. Try again.";

const form = document.querySelector("[data-upload]");
const input = form.querySelector("input[type=file]");
const drop = form.querySelector("[data-drop]");
const refused = form.querySelector("[data-refused]");
const progress = form.querySelector("[data-progress]");

const refuse = (message) => {
  refused.textContent = message;
  refused.hidden = !message;
  input.toggleAttribute("aria-invalid", Boolean(message));
  if (message) input.setAttribute("aria-invalid", "true");
};

// Says why not, and forgets the file.
const look = () => {
  const isTooLarge = input.files[0]?.size > Number(form.dataset.maxBytes);
  refuse(isTooLarge ? form.dataset.tooLarge : "");
  if (isTooLarge) input.value = "";
};
input.addEventListener("change", look);

for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
  drop.addEventListener(type, (event) => {
    event.preventDefault();
    drop.classList.toggle("is-over", type === "dragenter" || type === "dragover");
    if (type !== "drop" || !event.dataTransfer.files.length) return;
    input.files = event.dataTransfer.files;
    look();
  });
}

const release = (message) => {
  delete form.dataset.sent;
  form.classList.remove("is-sending");
  progress.hidden = true;
  refuse(message);
  input.focus();
};

// What the page says that came instead of the next one.
const toldBy = (html) =>
  new DOMParser().parseFromString(html, "text/html").querySelector("[data-focus]")?.textContent;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (form.dataset.sent || !input.files.length) return;
  form.dataset.sent = "true";
  form.classList.add("is-sending");
  refuse("");
  progress.value = 0;
  progress.hidden = false;
  const request = new XMLHttpRequest();
  request.open("POST", form.action);
  request.upload.addEventListener("progress", ({ loaded, total }) => {
    progress.value = total ? loaded / total : 0;
  });
  request.addEventListener("loadend", () => {
    const { status, responseURL, responseText } = request;
    if (status === 200) location.assign(responseURL);
    else if (status === 0) release(NOT_ARRIVED);
    else if (status === 401) release(SIGNED_OUT);
    else release(status === 413 ? form.dataset.tooLarge : (toldBy(responseText) ?? OTHERWISE));
  });
  request.send(new FormData(form));
});
