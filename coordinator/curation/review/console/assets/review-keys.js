"use strict";
// Keys for what the page shows as buttons, links and fields; without this script these are used as they stand.

document.addEventListener("keydown", (event) => {
  const isWriting = event.target.matches("input:not([type=checkbox]), textarea");
  if (event.key === "Escape" && isWriting) event.target.blur();
  if (isWriting || event.altKey || event.ctrlKey || event.metaKey) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const target = document.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (!target) return;
  event.preventDefault();
  if (target.matches("input")) target.focus();
  else target.click();
});
