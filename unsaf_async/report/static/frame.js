"use strict";
// What all pages share: the theme, and a sign on what is wider than its frame.
(() => {
  const button = document.getElementById("theme");
  const themes = ["auto", "light", "dark"];
  const stored = () => { try { return localStorage.getItem("unsaf-theme"); } catch { return null; } };

  function setTheme(theme) {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
    try { localStorage.setItem("unsaf-theme", theme); } catch { /* a page from a file may have no storage */ }
  }

  if (button) {
    let theme = themes.includes(stored()) ? stored() : "auto";
    setTheme(theme);
    button.addEventListener("click", () => {
      theme = themes[(themes.indexOf(theme) + 1) % themes.length];
      setTheme(theme);
    });
  }

  const wide = new ResizeObserver((seen) => {
    for (const { target } of seen) target.toggleAttribute("data-scrolls", target.scrollWidth > target.clientWidth + 1);
  });
  for (const each of document.querySelectorAll(".scroll")) wide.observe(each);
})();
