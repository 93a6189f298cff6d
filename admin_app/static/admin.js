// Conveniences only: every page works without them.

// A form is sent once, however often its button is clicked.
for (const form of document.querySelectorAll("[data-submit-once]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "true";
    form.classList.add("is-sending");
  });
}

// Coming back by the Back button brings the page as it was left: let it be sent again.
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("[data-sent]")) {
    delete form.dataset.sent;
    form.classList.remove("is-sending");
  }
});

// Addresses stay short: filters left empty are not sent.
for (const form of document.querySelectorAll("[data-drop-empty]")) {
  form.addEventListener("submit", () => {
    for (const field of form.elements) {
      if (field.name && field.value === "") field.disabled = true;
    }
  });
  window.addEventListener("pageshow", () => {
    for (const field of form.elements) field.disabled = false;
  });
}

// The selection: all rows of the page at once, a count, and no buttons while nothing is selected.
for (const form of document.querySelectorAll("[data-selection]")) {
  const all = form.querySelector("[data-select-all]");
  const bar = form.querySelector("[data-selection-bar]");
  const count = form.querySelector("[data-selection-count]");
  const boxes = [...form.querySelectorAll("input[name=ids]")];
  if (!all) continue;
  let last = null;
  const update = () => {
    const checked = boxes.filter((box) => box.checked).length;
    all.checked = checked === boxes.length;
    all.indeterminate = checked > 0 && checked < boxes.length;
    count.textContent = checked === 0 ? "Nothing selected" : `${checked} selected`;
    for (const button of bar.querySelectorAll("button")) button.disabled = checked === 0;
    for (const box of boxes) box.closest("tr").classList.toggle("is-selected", box.checked);
  };
  all.hidden = false;
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    update();
  });
  for (const box of boxes) {
    box.addEventListener("click", (event) => {
      if (event.shiftKey && last !== null) {
        const [from, to] = [boxes.indexOf(last), boxes.indexOf(box)].sort((a, b) => a - b);
        for (const between of boxes.slice(from, to + 1)) between.checked = box.checked;
      }
      last = box;
      update();
    });
  }
  window.addEventListener("pageshow", update);
  update();
}

// Suggestions for a field that names a person.
for (const input of document.querySelectorAll("[data-lookup]")) {
  const choices = document.getElementById(input.getAttribute("list"));
  let waiting = null;
  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(async () => {
      const query = new URLSearchParams({ name: input.name, term: input.value });
      const response = await fetch(`${input.dataset.lookup}?${query}`);
      if (!response.ok) return;
      const { results } = await response.json();
      choices.replaceChildren(...results.map(({ text }) => new Option(text, text)));
    }, 200);
  });
}

// "/" goes to the search field, as in most tools of this kind.
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, textarea, select, [contenteditable]");
  const search = document.getElementById("search");
  if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && !event.altKey && search) {
    event.preventDefault();
    search.focus();
    search.select();
  }
});

// After a refused form, start where the reason is told.
document.querySelector("[data-focus]")?.focus();
