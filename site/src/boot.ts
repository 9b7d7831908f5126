// Runs before the first paint: the theme, so that the page never flashes in the wrong one.
const root = document.documentElement;
root.classList.add("js");
let theme = new URLSearchParams(location.search).get("theme");
try {
  theme ??= localStorage.getItem("theme");
} catch {
  // Storage may be forbidden; then the system's theme stands.
}
if (theme === "dark" || theme === "light") root.dataset.theme = theme;
