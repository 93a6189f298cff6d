// The theme somebody chose in this browser, else the system's. Not a module: it runs before the first paint.
{
  const KEY = "theme";
  const THEMES = ["light", "dark"];

  const read = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null; // storage is switched off
    }
  };

  const write = (theme) => {
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // the choice then lasts until the next page
    }
  };

  const apply = (chosen) => {
    const theme = THEMES.includes(chosen) ? chosen : "system";
    document.documentElement.dataset.theme = theme;
    document.querySelector("meta[name=color-scheme]").content = theme === "system" ? "light dark" : theme;
    for (const meta of document.querySelectorAll("meta[name=theme-color]")) {
      if (theme === "system") meta.media = `(prefers-color-scheme: ${meta.dataset.for})`;
      else meta.media = meta.dataset.for === theme ? "all" : "not all";
    }
    for (const choice of document.querySelectorAll("[data-theme-choice] input")) {
      choice.checked = choice.value === theme;
    }
  };

  apply(read());
  document.addEventListener("DOMContentLoaded", () => apply(read()));
  window.addEventListener("pageshow", () => apply(read())); // browsers fill forms in again on the way back
  window.addEventListener("storage", () => apply(read())); // chosen in another tab
  document.addEventListener("change", (event) => {
    if (!event.target.closest("[data-theme-choice]")) return;
    write(event.target.value);
    apply(event.target.value);
  });
}
