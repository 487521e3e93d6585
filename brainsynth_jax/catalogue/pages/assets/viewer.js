// Window, level and mask of the large picture, and the keys. All pages work without it.
"use strict";

const byId = (id) => document.getElementById(id);
const slice = document.querySelector(".large .picture .slice");
const mask = document.querySelector(".large .picture .mask");

function setWindow() {
  // Grey v becomes (v - (level - width / 2)) / width, as viewers of DICOM do.
  const level = byId("level").value / 100;
  const width = byId("width").value / 100;
  for (const part of document.querySelectorAll("#window feFuncR, #window feFuncG, #window feFuncB")) {
    part.setAttribute("slope", 1 / width);
    part.setAttribute("intercept", 0.5 - level / width);
  }
  slice.classList.add("windowed");
}

function setMask() {
  if (mask) mask.style.opacity = byId("opacity").value / 100;
}

if (slice && byId("level")) {
  byId("level").addEventListener("input", setWindow);
  byId("width").addEventListener("input", setWindow);
  if (mask) byId("opacity").addEventListener("input", setMask);
  byId("reset").addEventListener("click", () => {
    for (const input of document.querySelectorAll(".controls input")) input.value = input.defaultValue;
    setWindow();
    setMask();
  });
}

const showMasks = byId("show-masks");
if (showMasks) {
  const tiles = document.querySelector(".tiles");
  showMasks.addEventListener("change", () => tiles.classList.toggle("masked", showMasks.checked));
  tiles.classList.toggle("masked", showMasks.checked);
}

document.addEventListener("keydown", (event) => {
  if (event.repeat) return; // a key that is held answers once
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.target.matches("input:not([type=checkbox], [type=radio]), textarea, select")) return;
  const press = (element) => {
    if (!element) return;
    event.preventDefault();
    element.click();
  };
  if (event.key === "ArrowLeft") press(document.querySelector("a[rel=prev]"));
  if (event.key === "ArrowRight") press(document.querySelector("a[rel=next]"));
  if (event.key === "m" && mask) {
    const opacity = byId("opacity");
    opacity.value = Number(opacity.value) ? 0 : opacity.defaultValue;
    setMask();
  }
  const keyed = document.querySelectorAll(".verdicts button, .answers button");
  if (/^[0-9]$/.test(event.key)) press(keyed[(Number(event.key) + 9) % 10]);
});
