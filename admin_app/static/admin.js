// Conveniences only: every page works without them.

const release = (form) => {
  delete form.dataset.sent;
  form.classList.remove("is-sending");
};

// A form is sent once, however often its button is clicked. One whose answer may be a file, which leaves the page
// as it is, says after how many seconds it can be sent again.
for (const form of document.querySelectorAll("[data-submit-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "true";
    form.classList.add("is-sending");
    const seconds = Number(form.dataset.submitOnce);
    if (seconds) setTimeout(() => { release(form); settle(); }, seconds * 1000);
  });
}

// Coming back by the Back button brings the page as it was left: let it be sent again.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("[data-sent]")) release(form);
});

// What was typed and not sent would be lost by leaving the page. What the page came with is no change.
const textOf = (form) => new URLSearchParams(new FormData(form)).toString();
for (const form of document.querySelectorAll("[data-guard]")) {
  const untouched = form.cloneNode(true);
  untouched.reset();
  const before = textOf(untouched);
  window.addEventListener("beforeunload", (event) => {
    if (form.dataset.sent) return;
    if ("dirty" in form.dataset || textOf(form) !== before) event.preventDefault();
  });
}

// Whoever types in a field that somebody else changed, too, wants their own.
for (const clash of document.querySelectorAll("[data-clash]")) {
  const mine = clash.querySelector("[data-mine]");
  clash.addEventListener("input", (event) => {
    if (event.target.type !== "radio") mine.checked = true;
  });
}

// Whoever has signed in again need not press the button that leads back to the form.
document.querySelector("[data-submit-now]")?.requestSubmit();

// Suggestions for a field that names a person.
for (const input of document.querySelectorAll("[data-lookup]")) {
  const choices = document.getElementById(input.getAttribute("list"));
  let waiting = null;
  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const query = new URLSearchParams({ name: input.name, term: input.value });
      const response = await fetch(`${input.dataset.lookup}?${query}`).catch(() => null);
      if (!response?.ok || response.redirected) return;
      const { results } = await response.json();
      choices.replaceChildren(...results.map(({ text }) => new Option(text, text)));
    }, 200);
  });
}

// What is shown is of what was filled in then: after a change it must be shown again before it is confirmed.
for (const form of document.querySelectorAll("[data-shows]")) {
  const button = document.getElementById(form.dataset.shows);
  form.addEventListener("input", () => {
    if (!button) return;
    button.disabled = true;
    document.querySelector("[data-stale]").hidden = false;
  });
}

// A page that takes longer to come than this shows that it is on its way.
const SLOW_MS = 300;
const GIVEN_UP_MS = 30_000;
let slow = null;
const settle = () => {
  clearTimeout(slow);
  delete document.documentElement.dataset.loading;
};
window.navigation?.addEventListener("navigate", (event) => {
  if (event.hashChange || event.downloadRequest !== null) return;
  settle();
  slow = setTimeout(() => {
    document.documentElement.dataset.loading = "";
    slow = setTimeout(settle, GIVEN_UP_MS); // what turns out to be a download brings no page
  }, SLOW_MS);
});
window.navigation?.addEventListener("navigateerror", settle);
window.addEventListener("pageshow", settle);

// After a refused form, start where the reason is told.
document.querySelector("[data-focus]")?.focus();
