// The list: selecting, changing rows where they stand, and counts that come after the page.

// Addresses stay short: what was left empty is not sent.
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

// Panels close by Escape, and when something else is clicked.
const panels = [...document.querySelectorAll("[data-panel]")];
document.addEventListener("click", (event) => {
  for (const panel of panels) if (!panel.contains(event.target)) panel.open = false;
});
for (const panel of panels) {
  panel.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !panel.open) return;
    panel.open = false;
    panel.querySelector("summary").focus();
  });
}

// How many rows each choice would show: asked when somebody is about to choose.
for (const panel of document.querySelectorAll("[data-facets]")) {
  panel.addEventListener(
    "toggle",
    async () => {
      const response = await fetch(panel.dataset.facets).catch(() => null);
      if (!response?.ok) return;
      const counts = await response.json();
      for (const select of panel.querySelectorAll("[data-choices]")) {
        for (const option of select.options) {
          const count = counts[select.name]?.[option.value];
          if (option.value && count) option.text = `${option.text} (${count})`;
        }
      }
    },
    { once: true },
  );
}

// How many rows there are, when telling it takes longer than the page.
for (const place of document.querySelectorAll("[data-count]")) {
  const text = place.querySelector("[data-count-text]");
  const button = place.querySelector("[data-count-exactly]");
  const ask = async (exactly) => {
    const url = new URL(place.dataset.count, location.href);
    if (exactly) url.searchParams.set("exactly", "1");
    place.setAttribute("aria-busy", "true");
    const response = await fetch(url).catch(() => null);
    place.removeAttribute("aria-busy");
    if (response?.ok) {
      const count = await response.json();
      text.textContent = count.text;
      button.hidden = count.exact;
    } else if (exactly) {
      button.textContent = "Counting took too long";
      button.disabled = true;
    }
  };
  button.addEventListener("click", () => ask(true));
  if ("countOpen" in text.dataset) ask(false);
}

// The selection: all rows of the page at once, a range with Shift, and no buttons while nothing is selected.
for (const form of document.querySelectorAll("[data-selection]")) {
  const all = form.querySelector("[data-select-all]");
  if (!all) continue;
  const bar = form.querySelector("[data-selection-bar]");
  const count = form.querySelector("[data-selection-count]");
  const boxes = () => [...form.querySelectorAll("input[name=ids]")];
  let last = null;
  const update = () => {
    const checked = boxes().filter((box) => box.checked).length;
    all.checked = checked === boxes().length;
    all.indeterminate = checked > 0 && !all.checked;
    count.textContent = checked === 0 ? "Nothing selected" : `${checked} selected`;
    for (const button of bar.querySelectorAll("button")) button.disabled = checked === 0;
    for (const box of boxes()) box.closest("tr").classList.toggle("is-selected", box.checked);
  };
  all.hidden = false;
  all.addEventListener("change", () => {
    for (const box of boxes()) box.checked = all.checked;
    update();
  });
  form.addEventListener("click", (event) => {
    const box = event.target;
    if (!box.matches("input[name=ids]")) return;
    const rows = boxes();
    if (event.shiftKey && rows.includes(last)) {
      const [from, to] = [rows.indexOf(last), rows.indexOf(box)].sort((a, b) => a - b);
      for (const between of rows.slice(from, to + 1)) between.checked = box.checked;
    }
    last = box;
    update();
  });
  form.addEventListener("row-replaced", update);
  window.addEventListener("pageshow", update);
  update();
}

// Changing a row where it stands. What was typed stays until the server has taken it.
const REASONS = {
  401: "You are not signed in any more. Sign in in another tab, then save again.",
  403: "Your role does not allow this.",
  404: "This is not here any more, or not yours to change.",
};
const UNREACHABLE = "This could not be saved. Check the connection and try again; nothing you typed is lost.";

const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

const CONTROLS = {
  text: (value) => element("input", { type: "text", maxlength: "255", value, autocomplete: "off" }),
  price: (value) => element("input", { type: "text", inputmode: "decimal", value, autocomplete: "off" }),
  state: (value) => {
    const select = element("select", {}, new Option("Active", "true"), new Option("Inactive", "false"));
    select.value = value;
    return select;
  },
};

for (const table of document.querySelectorAll("[data-inline]")) {
  const headings = new Map();
  for (const heading of table.querySelectorAll("[data-control]")) headings.set(heading.dataset.name, heading);
  const back = table.closest("form").elements.back.value;

  const edit = (row, focused) => {
    if (row.classList.contains("is-editing")) return;
    const controls = new Map();
    const before = new Map();
    const remember = (cell) => before.set(cell, [...cell.childNodes]);
    for (const cell of row.querySelectorAll("[data-field]")) {
      const name = cell.dataset.field;
      const heading = headings.get(name);
      if (!heading) continue;
      const value = cell.dataset.raw ?? cell.querySelector(".row-link").title;
      const control = CONTROLS[heading.dataset.control](value);
      control.setAttribute("aria-label", heading.textContent.trim());
      control.dataset.before = value;
      remember(cell);
      cell.replaceChildren(control);
      controls.set(name, control);
    }
    const save = element("button", { type: "button", class: "button button-primary button-small" }, "Save");
    const cancel = element("button", { type: "button", class: "button button-quiet button-small" }, "Cancel");
    const actions = row.querySelector(".cell-actions");
    remember(actions);
    actions.replaceChildren(element("div", { class: "inline-buttons" }, save, cancel));
    row.classList.add("is-editing");

    const leave = () => {
      for (const [cell, nodes] of before) cell.replaceChildren(...nodes);
      row.classList.remove("is-editing");
      row.nextElementSibling?.classList.contains("inline-notice") && row.nextElementSibling.remove();
      row.querySelector(".row-link").focus();
    };
    const tell = (message, fields = {}) => {
      const told = element("div", { role: "alert" }, message);
      for (const [name, control] of controls) {
        control.toggleAttribute("aria-invalid", false);
        if (!fields[name]) continue;
        control.setAttribute("aria-invalid", "true");
        told.append(element("p", {}, `${control.getAttribute("aria-label")}: ${fields[name]}`));
      }
      const notice = element("tr", { class: "inline-notice" }, element("td", { colspan: row.cells.length }, told));
      if (row.nextElementSibling?.classList.contains("inline-notice")) row.nextElementSibling.remove();
      row.after(notice);
      (row.querySelector("[aria-invalid]") ?? save).focus();
    };
    const send = async () => {
      if (row.getAttribute("aria-busy")) return;
      const changed = [...controls].filter(([, control]) => control.value !== control.dataset.before);
      if (changed.length === 0) {
        leave();
        return;
      }
      const body = new URLSearchParams({ version: row.dataset.version, back });
      for (const [name, control] of changed) body.set(name, control.value);
      row.setAttribute("aria-busy", "true");
      const url = table.dataset.inline + row.dataset.id;
      const response = await fetch(url, { method: "POST", body }).catch(() => null);
      row.removeAttribute("aria-busy");
      if (response?.ok) {
        const template = document.createElement("template");
        template.innerHTML = await response.text();
        const fresh = template.content.querySelector("tr");
        const box = fresh.querySelector("input[name=ids]");
        if (box) box.checked = row.querySelector("input[name=ids]")?.checked ?? false;
        if (row.nextElementSibling?.classList.contains("inline-notice")) row.nextElementSibling.remove();
        row.replaceWith(fresh);
        fresh.classList.add("is-current", "was-saved");
        fresh.querySelector(".row-link").focus();
        fresh.dispatchEvent(new Event("row-replaced", { bubbles: true }));
        return;
      }
      const isJson = response?.headers.get("content-type")?.startsWith("application/json");
      const { message, fields } = isJson ? await response.json() : {};
      tell(message ?? REASONS[response?.status] ?? UNREACHABLE, fields);
    };
    save.addEventListener("click", send);
    cancel.addEventListener("click", leave);
    for (const control of controls.values()) {
      control.addEventListener("keydown", (event) => {
        if (event.key === "Enter") {
          event.preventDefault(); // the form around the table is about the selection
          send();
        } else if (event.key === "Escape") {
          leave();
        }
      });
    }
    const first = controls.get(focused) ?? controls.values().next().value;
    first?.focus();
    first?.select?.();
  };

  table.addEventListener("click", (event) => {
    if (event.target.closest("[data-inline-start]")) edit(event.target.closest("tr"));
  });
  table.addEventListener("dblclick", (event) => {
    const cell = event.target.closest("[data-version] [data-field]");
    if (cell && !event.target.closest("a")) edit(cell.closest("tr"), cell.dataset.field);
  });
}
