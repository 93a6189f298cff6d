// The list: selecting, changing rows where they stand, and counts that come after the page.

// What a page asks for beside itself. Whoever is signed out meanwhile is led to another page, which is no answer.
const ask = async (url) => {
  const response = await fetch(url).catch(() => null);
  return response?.ok && !response.redirected ? response.json() : null;
};

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

// Panels close by Escape, and when something else is clicked or the keyboard leaves them.
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
  panel.addEventListener("focusout", ({ relatedTarget }) => {
    if (relatedTarget && !panel.contains(relatedTarget)) panel.open = false;
  });
}

// How many rows each choice would show: asked when somebody is about to choose.
for (const panel of document.querySelectorAll("[data-facets]")) {
  panel.addEventListener(
    "toggle",
    async () => {
      const counts = await ask(panel.dataset.facets);
      if (!counts) return;
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
  const count = async (exactly) => {
    const url = new URL(place.dataset.count, location.href);
    if (exactly) url.searchParams.set("exactly", "1");
    place.setAttribute("aria-busy", "true");
    const told = await ask(url);
    place.removeAttribute("aria-busy");
    if (told) {
      text.textContent = told.text;
      delete text.dataset.countOpen;
      document.dispatchEvent(new Event("counted"));
      button.hidden = told.exact;
    } else if (exactly) {
      button.textContent = "Counting took too long";
      button.disabled = true;
    }
  };
  button.addEventListener("click", () => count(true));
  if ("countOpen" in text.dataset) count(false);
}

// The selection: all rows of the page at once, a range with Shift, and what was ticked on other pages of the
// same search. Or everything that matches, however many rows that is.
const EVERYTHING = "all";
for (const form of document.querySelectorAll("[data-selection]")) {
  const all = form.querySelector("[data-select-all]");
  if (!all) continue;
  const bar = form.querySelector("[data-selection-bar]");
  const count = form.querySelector("[data-selection-count]");
  const none = form.querySelector("[data-select-none]");
  const matching = form.querySelector("[data-select-matching]");
  const everything = form.querySelector("[data-all]");
  const actions = form.querySelector("[data-actions]");
  const opener = actions.querySelector("summary");
  const total = document.querySelector("[data-count-text]");
  const hasMore = document.querySelector(".pager") !== null;
  const boxes = () => [...form.querySelectorAll("input[name=ids]")];
  const key = `selection:${location.pathname}?${bar.dataset.conditions}`;
  let chosen = new Set();
  let last = null;

  // How many match: " 1,054" when it is exact, else ", about 52,000"; nothing before it is counted.
  const told = () => {
    if ("countOpen" in total.dataset) return ["", ""];
    const text = total.textContent;
    return text.startsWith("about") ? ["", `, ${text}`] : [` ${text}`, ""];
  };
  const say = () => {
    const [exact, about] = told();
    if (everything.checked) return `All${exact} selected${about}`;
    if (chosen.size === 0) return "Nothing selected";
    const elsewhere = chosen.size - boxes().filter((box) => box.checked).length;
    const others = elsewhere ? `, ${elsewhere.toLocaleString("en")} of them on other pages` : "";
    return `${chosen.size.toLocaleString("en")} selected${others}`;
  };
  const show = () => {
    const here = boxes().filter((box) => box.checked).length;
    all.checked = here > 0 && here === boxes().length;
    all.indeterminate = here > 0 && !all.checked;
    if (count.textContent !== say()) count.textContent = say(); // it is read aloud
    const [exact, about] = told();
    matching.querySelector("[data-exact]").textContent = exact;
    matching.querySelector("[data-about]").textContent = about;
    matching.hidden = everything.checked || !hasMore;
    const isEmpty = chosen.size === 0 && !everything.checked;
    none.hidden = isEmpty;
    if (isEmpty) actions.open = false;
    opener.classList.toggle("is-off", isEmpty);
    opener.ariaDisabled = isEmpty ? "true" : null;
    opener.title = isEmpty ? "Select rows first" : "";
    for (const box of boxes()) box.closest("tr").classList.toggle("is-selected", box.checked);
  };
  const update = () => {
    if (!everything.checked) for (const box of boxes()) chosen[box.checked ? "add" : "delete"](box.value);
    const kept = everything.checked ? EVERYTHING : [...chosen];
    if (kept.length === 0) sessionStorage.removeItem(key);
    else sessionStorage.setItem(key, JSON.stringify(kept));
    show();
  };
  const select = (isEverything) => {
    everything.checked = isEverything;
    for (const box of boxes()) box.checked = isEverything;
    chosen.clear();
    update();
  };
  all.hidden = false;
  all.addEventListener("change", () => {
    everything.checked = false;
    for (const box of boxes()) box.checked = all.checked;
    update();
  });
  none.addEventListener("click", () => {
    select(false);
    all.focus();
  });
  matching.addEventListener("click", () => {
    select(true);
    opener.focus();
  });
  opener.addEventListener("click", (event) => {
    if (opener.ariaDisabled) event.preventDefault();
  });
  form.addEventListener("click", (event) => {
    const box = event.target;
    if (!box.matches("input[name=ids]")) return;
    everything.checked = false;
    const rows = boxes();
    if (event.shiftKey && rows.includes(last)) {
      const [from, to] = [rows.indexOf(last), rows.indexOf(box)].sort((a, b) => a - b);
      for (const between of rows.slice(from, to + 1)) between.checked = box.checked;
    }
    last = box;
    update();
  });
  // The rows of other pages go along in one field; the boxes of this one speak for themselves.
  form.addEventListener("formdata", (event) => {
    const here = new Set(boxes().map((box) => box.value));
    const elsewhere = [...chosen].filter((id) => !here.has(id));
    if (elsewhere.length) event.formData.append("ids", elsewhere.join("."));
  });
  // Read anew whenever the page is shown: by the Back button it comes as it was left.
  const restore = () => {
    const kept = JSON.parse(sessionStorage.getItem(key) ?? "[]");
    everything.checked = kept === EVERYTHING;
    chosen = new Set(everything.checked ? [] : kept);
    for (const box of boxes()) box.checked = everything.checked || chosen.has(box.value);
    show();
  };
  form.addEventListener("row-replaced", update);
  document.addEventListener("counted", show);
  window.addEventListener("pageshow", restore);
  restore();
  count.ariaLive = "polite"; // from now on
}

// Changing a row where it stands. What was typed stays until the server has taken it.
const REASONS = {
  403: "Your role does not allow this, or you must choose a new password first.",
  404: "This is not here any more, or not yours to change.",
};
const UNREACHABLE = "This could not be saved. Check the connection and try again; nothing you typed is lost.";

const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};

// This page itself, opened anew, asks who is there first.
const signInAgain = () => {
  const link = element("a", { href: location.href, target: "_blank", rel: "noopener" }, "Sign in in another tab");
  return element("span", {}, "You were signed out, and nothing was saved. ", link, ", then save again here.");
};

const rowOf = (html) => {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content.querySelector("tr");
};

const valueOf = (cell) => cell.dataset.raw ?? cell.querySelector(".row-link").title;

const iconButton = (icon, label) => {
  const button = element("button", { type: "button", class: "icon-button", title: label, "aria-label": label });
  button.innerHTML = `<svg class="icon" aria-hidden="true" focusable="false"><use href="#icon-${icon}"/></svg>`;
  return button;
};

// What is typed in a row and not saved would be lost by leaving the page.
window.addEventListener("beforeunload", (event) => {
  const isChanged = [...document.querySelectorAll(".is-editing [data-before]")].some(
    (control) => control.value !== control.dataset.before,
  );
  if (isChanged) event.preventDefault();
});

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
      const value = valueOf(cell);
      const control = CONTROLS[heading.dataset.control](value);
      control.setAttribute("aria-label", heading.textContent.trim());
      control.dataset.before = value;
      control.dataset.name = name;
      remember(cell);
      cell.replaceChildren(control);
      controls.set(name, control);
    }
    const save = iconButton("check", "Save");
    const cancel = iconButton("close", "Cancel");
    const actions = row.querySelector(".cell-actions");
    remember(actions);
    actions.replaceChildren(element("div", { class: "inline-buttons" }, save, cancel));
    row.classList.add("is-editing");

    let newer = null; // the row as somebody else left it meanwhile
    const silence = () => {
      if (row.nextElementSibling?.classList.contains("inline-notice")) row.nextElementSibling.remove();
    };
    const noticeOf = (told, look = "") =>
      element("tr", { class: `inline-notice ${look}` }, element("td", { colspan: row.cells.length }, told));
    const replace = (html, look, message) => {
      const fresh = rowOf(html);
      const box = fresh.querySelector("input[name=ids]");
      if (box) box.checked = row.querySelector("input[name=ids]")?.checked ?? false;
      silence();
      row.replaceWith(fresh);
      if (message) {
        const seen = element("button", { type: "button", class: "link-button" }, "OK");
        const notice = noticeOf(element("div", { role: "status" }, message, " ", seen), "is-kept");
        seen.addEventListener("click", () => notice.remove());
        fresh.after(notice);
      }
      fresh.classList.add("is-current", look);
      fresh.querySelector(".row-link").focus();
      fresh.dispatchEvent(new Event("row-replaced", { bubbles: true }));
    };
    const leave = () => {
      if (newer) {
        replace(newer, "was-changed");
        return;
      }
      for (const [cell, nodes] of before) cell.replaceChildren(...nodes);
      row.classList.remove("is-editing");
      silence();
      row.querySelector(".row-link").focus();
    };
    // One click takes either value; with the last of them the row is saved.
    const choices = (name, control, { who, when, value, shown }, settle) => {
      const own = control.tagName === "SELECT" ? control.selectedOptions[0].text : control.value;
      const take = element("button", { type: "button", class: "button" }, `Take “${shown}”`);
      const keep = element("button", { type: "button", class: "button" }, `Keep “${own}”`);
      const line = `${control.getAttribute("aria-label")}: ${who} made it “${shown}”, ${when}. `;
      const offered = element("p", { class: "inline-choice" }, line, take, " ", keep);
      take.addEventListener("click", () => {
        control.value = value;
        control.dataset.before = value;
        settle(name, offered);
      });
      keep.addEventListener("click", () => settle(name, offered));
      return offered;
    };
    const tell = (message, fields = {}, theirs = {}, version = null) => {
      const open = new Set(Object.keys(theirs));
      const settle = (name, offered) => {
        open.delete(name);
        offered.remove();
        if (open.size > 0) return;
        row.dataset.version = version;
        send();
      };
      const told = element("div", { role: "alert" }, message);
      for (const [name, control] of controls) {
        const label = control.getAttribute("aria-label");
        control.removeAttribute("aria-invalid");
        if (fields[name]) {
          control.setAttribute("aria-invalid", "true");
          told.append(element("p", {}, `${label}: ${fields[name]}`));
        }
        if (theirs[name]) {
          told.append(choices(name, control, theirs[name], settle));
          continue;
        }
        const now = newer && valueOf(rowOf(newer).querySelector(`[data-field="${name}"]`));
        if (now && now !== control.dataset.before) {
          const shown = control.tagName === "SELECT" ? control.querySelector(`[value="${now}"]`).text : now;
          told.append(element("p", {}, `${label} is now: ${shown}`));
        }
      }
      if (newer) {
        const link = element("button", { type: "button", class: "link-button" }, "Show the row as it is now");
        link.addEventListener("click", leave);
        told.append(link);
      }
      silence();
      row.after(noticeOf(told));
      (told.querySelector(".inline-choice button, a") ?? row.querySelector("[aria-invalid]") ?? cancel).focus();
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
      const isJson = response?.headers.get("content-type")?.startsWith("application/json");
      const { message, fields, row: html, theirs, version: now } = isJson ? await response.json() : {};
      if (response?.ok && html) {
        replace(html, "was-saved", message);
        return;
      }
      newer = html ?? newer;
      tell(response?.status === 401 ? signInAgain() : message ?? REASONS[response?.status] ?? UNREACHABLE, fields, theirs, now);
    };
    save.addEventListener("click", send);
    cancel.addEventListener("click", leave);
    // On what is only there while editing, so that nothing of it stays behind.
    for (const part of [...controls.values(), save, cancel]) {
      part.addEventListener("keydown", (event) => {
        if (event.key === "Escape") {
          leave();
        } else if (event.key === "Enter" && controls.has(part.dataset.name)) {
          event.preventDefault(); // the form around the table is about the selection
          send();
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
