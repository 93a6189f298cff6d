// Problems of the page as it stands: scrolls sideways, text too faint, targets too small for a finger.
() => {
  const problems = [];
  const about = (element) => `<${element.tagName.toLowerCase()} class="${element.className}"> ${element.textContent.trim().slice(0, 30)}`;
  const isShown = (element) => element.checkVisibility({ visibilityProperty: true, opacityProperty: true });

  const { scrollWidth } = document.documentElement;
  if (scrollWidth > innerWidth) problems.push(`scrolls sideways: ${scrollWidth} px`);

  const read = (colour) => {
    const [red, green, blue, alpha = 1] = colour.match(/[\d.]+/g).map(Number);
    return { channels: [red, green, blue], alpha };
  };
  const over = (top, bottom) => ({
    channels: top.channels.map((value, i) => value * top.alpha + bottom.channels[i] * (1 - top.alpha)),
    alpha: 1,
  });
  const ground = (element) => {
    if (!element) return read("rgb(255, 255, 255)");
    const colour = read(getComputedStyle(element).backgroundColor);
    return colour.alpha === 1 ? colour : over(colour, ground(element.parentElement));
  };
  // WCAG 2.2, relative luminance and contrast ratio.
  const luminance = ({ channels }) => {
    const [red, green, blue] = channels
      .map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const contrast = (colour, behind) => {
    const [light, dark] = [luminance(over(colour, behind)), luminance(behind)].sort((a, b) => b - a);
    return (light + 0.05) / (dark + 0.05);
  };
  const check = (element, pseudo) => {
    const ratio = contrast(read(getComputedStyle(element, pseudo).color), ground(element));
    if (ratio < 4.5) problems.push(`contrast ${ratio.toFixed(2)}: ${pseudo ?? ""} ${about(element)}`);
  };
  for (const element of document.body.querySelectorAll("*")) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    const isField = element.matches("input:not([type=checkbox], [type=radio], [type=hidden]), textarea");
    if ((!hasText && !isField) || !isShown(element) || element.closest(":disabled, .is-off")) continue;
    check(element);
    if (isField) check(element, "::placeholder");
  }

  if (innerWidth < 600) {
    const targets = "button, summary, .button, .icon-button, .menu-toggle, .menu-link, .theme label, .trail a, .tile-head a, .tile-links a, .cell-check label, .chip, .chip-clear, input:not([type=checkbox], [type=radio], [type=hidden]), select";
    for (const element of document.querySelectorAll(targets)) {
      const { width, height } = element.getBoundingClientRect();
      if (isShown(element) && (width < 43.5 || height < 43.5)) {
        problems.push(`too small: ${width.toFixed()} × ${height.toFixed()} ${about(element)}`);
      }
    }
  }
  return problems;
};
