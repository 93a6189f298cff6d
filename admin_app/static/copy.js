// A button that copies what is in a field; by hand it is selected at a click.
for (const button of document.querySelectorAll("[data-copy]")) {
  const field = document.getElementById(button.dataset.copy);
  const told = button.closest(".field").querySelector("[data-copied]");
  field.addEventListener("focus", () => field.select());
  button.addEventListener("click", async () => {
    field.select();
    const isCopied = await navigator.clipboard?.writeText(field.value).then(
      () => true,
      () => false,
    );
    // Over plain http, browsers have no clipboard to write to.
    told.textContent = isCopied || document.execCommand("copy") ? "Copied." : "Press Ctrl-C to copy it.";
  });
}
