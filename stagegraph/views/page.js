"use strict";

const view = document.querySelector(".drawing");
const svg = view.querySelector("svg");
const size = svg.viewBox.baseVal;
let scale = 1;

/** Zoom; the point (x, y) of the window stays where it is. */
function zoom(to, x, y) {
  const box = view.getBoundingClientRect();
  const [dx, dy] = [(x ?? box.left + box.width / 2), (y ?? box.top + box.height / 2)];
  const before = svg.getBoundingClientRect();
  const [u, v] = [(dx - before.left) / before.width, (dy - before.top) / before.height];
  scale = Math.min(Math.max(to, 0.05), 4);
  svg.setAttribute("width", size.width * scale);
  svg.setAttribute("height", size.height * scale);
  const after = svg.getBoundingClientRect();
  view.scrollLeft += after.left + u * after.width - dx;
  view.scrollTop += after.top + v * after.height - dy;
}

function fitting() {
  return Math.min(view.clientWidth / size.width, view.clientHeight / size.height, 1);
}

const buttons = {
  "-": () => zoom(scale / 1.25),
  "+": () => zoom(scale * 1.25),
  "fit": () => zoom(fitting()),
  "1:1": () => zoom(1),
};
for (const button of document.querySelectorAll("[data-zoom]")) {
  button.addEventListener("click", buttons[button.dataset.zoom]);
}
document.querySelector(".tools").hidden = false;

view.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey) return; // scrolls
  event.preventDefault();
  zoom(scale * Math.exp(-event.deltaY / 300), event.clientX, event.clientY);
}, { passive: false });

view.addEventListener("keydown", (event) => {
  const press = { "-": "-", "+": "+", "=": "+", "0": "fit", "1": "1:1" }[event.key];
  if (press && !event.ctrlKey && !event.metaKey) buttons[press]();
});

// Dragging pans with a mouse; touch scrolls by itself. A press that moved is no click on a node.
let drag = null;
let moved = false;
view.addEventListener("pointerdown", (event) => {
  moved = false;
  if (event.pointerType === "mouse" && event.button === 0) drag = [event.clientX, event.clientY];
});
window.addEventListener("pointermove", (event) => {
  if (!drag) return;
  const [dx, dy] = [event.clientX - drag[0], event.clientY - drag[1]];
  if (!moved && Math.hypot(dx, dy) < 4) return;
  moved = true;
  view.classList.add("dragged");
  view.scrollBy(-dx, -dy);
  drag = [event.clientX, event.clientY];
});
window.addEventListener("pointerup", () => {
  drag = null;
  view.classList.remove("dragged");
});
view.addEventListener("click", (event) => { if (moved) event.preventDefault(); }, true);
view.addEventListener("dragstart", (event) => event.preventDefault());

/** Mark what the address names, and the wires that it is part of. */
function choose() {
  const id = decodeURIComponent(location.hash.slice(1));
  const card = [...svg.querySelectorAll("a.card")].find((each) => each.getAttribute("href") === `#${id}`);
  for (const each of svg.querySelectorAll(".chosen")) each.classList.remove("chosen");
  svg.classList.toggle("choosing", Boolean(card) && !id.startsWith("component-"));
  if (card) card.classList.add("chosen");
  for (const wire of svg.querySelectorAll(".wire")) {
    wire.classList.toggle("chosen", [wire.dataset.from, wire.dataset.to].includes(id));
  }
}
window.addEventListener("hashchange", choose);
choose();

zoom(Math.max(Math.min(view.clientWidth / size.width, 1), 0.6));
view.scrollTo((view.scrollWidth - view.clientWidth) / 2, 0);
