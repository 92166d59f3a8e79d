// Runs before the first paint, so that a chosen look does not flash up as another one.
"use strict";
try {
  const look = localStorage.getItem("muster.look");
  if (look === "light" || look === "dark") document.documentElement.dataset.look = look;
} catch {
  // Storage may be forbidden: then the system's look it is.
}
