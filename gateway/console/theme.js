// Before the page is drawn, so that a chosen theme does not flash: system, light or dark.
// The choice is the only thing that the console keeps in the browser for longer than a tab.
"use strict";

(() => {
  const KEY = "mulberry-theme";
  const ORDER = ["system", "light", "dark"];

  // A browser may refuse storage altogether; then the choice lasts as long as the page.
  function kept() {
    try {
      const value = localStorage.getItem(KEY);
      return ORDER.includes(value) ? value : "system";
    } catch {
      return "system";
    }
  }

  function keep(value) {
    try {
      if (value === "system") localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, value);
    } catch {
      // Nothing to do: it is only a colour.
    }
  }

  let theme = kept();
  const apply = () => {
    document.documentElement.dataset.theme = theme;
  };
  apply();

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const tell = () => {
      button.textContent = `Theme: ${theme}`;
    };
    tell();
    button.addEventListener("click", () => {
      theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
      keep(theme);
      apply();
      tell();
    });
  });
})();
