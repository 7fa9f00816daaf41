// Start of the page: what is shown, and what buttons and keys do to it.
/* global ol */
import { describeFacts, listLayers } from "./cards.js";
import { savePicture } from "./capture.js";
import { ImageStore, extentOf, projection } from "./images.js";
import { readPlace, writePlace } from "./links.js";
import { MiniMap } from "./minimap.js";
import { Panes } from "./panes.js";
import { RunWatch } from "./runs.js";
import { drawScale } from "./scale.js";

const find = (id) => document.getElementById(id);
const MODES = { c: "curtain", s: "side", b: "blink", o: "blend" };
const OBJECTIVES = [5, 10, 20, 40, 80];

const description = await (await fetch("view.json")).json();
const { images } = description;
const comparable = images.map((image, number) => number);
document.title = `${comparable.map((number) => images[number].name).join(" · ")} – wsisr view`;

const whole = images.map(extentOf).reduce((one, other) => ol.extent.extend(one, other), ol.extent.createEmpty());
const finest = Math.min(...images.map((image) => image.mpp));
const view = new ol.View({
  projection,
  center: ol.extent.getCenter(whole),
  resolution: finest * 16,
  minResolution: finest / 16,
  maxResolution: Math.max(Math.max(ol.extent.getWidth(whole), ol.extent.getHeight(whole)) / 200, 2 * devicePixelRatio),
  constrainResolution: false,
  smoothResolutionConstraint: false,
  enableRotation: false,
  showFullExtent: true,
});

const state = {
  mode: comparable.length > 1 ? "curtain" : "blink",
  left: comparable[0],
  right: comparable[1] ?? comparable[0],
  swapped: false,
  opacity: 0.5,
  curtain: 0.5,
  smooth: true,
  layers: Object.fromEntries(listLayers(description).map(({ key, opacity }) => [key, { visible: false, opacity }])),
};

async function reportError() {
  const { failures } = await (await fetch("status.json")).json().catch(() => ({ failures: [] }));
  if (failures.length) showNotice(failures.join("\n"));
}

function showNotice(text) {
  find("notice").textContent = text;
  find("notice").hidden = false;
}

let noteTimer = 0;
function showNote(text) {
  find("note").textContent = text;
  find("note").hidden = false;
  clearTimeout(noteTimer);
  noteTimer = setTimeout(() => (find("note").hidden = true), 2500);
}

const store = new ImageStore(description, reportError);
const panes = new Panes(find("panes"), find("handle"), store, view);
const miniMap = new MiniMap(find("minimap"), images[comparable[0]], view, () => panes.maps[0].getSize());

function update(changes = {}) {
  Object.assign(state, changes);
  for (const button of find("modes").children) {
    button.setAttribute("role", "radio");
    button.setAttribute("aria-checked", button.dataset.mode === state.mode);
  }
  find("opacity-label").hidden = state.mode !== "blend";
  find("opacity").value = state.opacity;
  find("pick-left").value = state.left;
  find("pick-right").value = state.right;
  find("smooth").checked = state.smooth;
  for (const row of find("layer-list").children) row.update?.(state.layers);
  if (store.interpolate !== state.smooth) {
    store.setInterpolation(state.smooth);
    panes.isStale = true;
  }
  const done = panes.show(state);
  showPlace();
  return done;
}

// Where the view is: mini-map, scale bar, magnification and the address of the page.
function showPlace() {
  const resolution = view.getResolution();
  miniMap.update();
  drawScale(find("scale-line"), find("scale-text"), resolution, description.unit);
  const onScreen = resolution / devicePixelRatio;
  const times = (10 / onScreen).toPrecision(3).replace(/\.?0+$/, "");
  find("zoom").textContent =
    description.unit === "um" ? `${times}x · ${onScreen.toPrecision(3)} µm a screen pixel` : `${(100 / onScreen).toPrecision(3)} %`;
  for (const button of find("zooms").children) {
    const objective = Number(button.dataset.objective);
    button.classList.toggle("current", Boolean(objective) && Math.abs(resolution / objectiveResolution(objective) - 1) < 0.01);
  }
  writePlace(state, view);
}

// The resolution of an objective: 10/N um a screen pixel, or the pixel size of an image that is near enough, so that its
// pixels are those of the screen.
function objectiveResolution(objective) {
  const nominal = 10 / objective;
  const exact = images.map((image) => image.mpp).filter((mpp) => Math.abs(mpp / nominal - 1) < 0.15);
  return (exact.sort((a, b) => Math.abs(a - nominal) - Math.abs(b - nominal))[0] ?? nominal) * devicePixelRatio;
}

// At one screen pixel an image pixel, the pixels of both must lie on each other, or all are interpolated.
function snapToPixels() {
  const resolution = view.getResolution();
  const onScreen = resolution / devicePixelRatio;
  const image = images.find(({ mpp }) => Math.abs(mpp / onScreen - 1) < 1e-6);
  if (!image || view.getAnimating() || view.getInteracting()) return;
  const size = panes.maps[0].getSize();
  const snap = (value, origin, side) => {
    const half = ((side * devicePixelRatio) / 2) % 1;
    return origin + (Math.round((value - origin) / onScreen - half) + half) * onScreen;
  };
  const [x, y] = view.getCenter();
  const snapped = [snap(x, image.left, size[0]), -snap(-y, image.top, size[1])];
  if (Math.hypot(snapped[0] - x, snapped[1] - y) > 1e-3 * onScreen) view.setCenter(snapped);
}

// Where the view is on its way to: keys that come faster than it moves add up.
let goal = null;

const getGoal = () => goal ?? { center: view.getCenter(), resolution: view.getResolution() };

function animateTo(changes) {
  const aim = { ...getGoal(), ...changes };
  view.cancelAnimations();
  goal = aim;
  view.animate({ ...aim, duration: 150 }, (isComplete) => {
    if (goal === aim) goal = null;
    if (isComplete) snapToPixels();
  });
}

const zoomTo = (resolution) => animateTo({ resolution: view.getConstrainedResolution(resolution) });
const zoomBy = (factor) => zoomTo(getGoal().resolution / factor);

function moveBy(dx, dy, isWhole) {
  const [width, height] = panes.maps[0].getSize();
  const { center, resolution } = getGoal();
  const share = (isWhole ? 0.9 : 0.2) * resolution;
  animateTo({ center: [center[0] + dx * width * share, center[1] - dy * height * share] });
}

function toggleLayers(kind) {
  const keys = Object.keys(state.layers).filter((key) => key.startsWith(kind));
  const visible = !keys.some((key) => state.layers[key].visible);
  for (const key of keys) state.layers[key].visible = visible;
  update();
}

function toggleCard(card, button) {
  const other = card === "layers" ? "help" : "layers";
  find(other).hidden = true;
  find(`show-${other}`).setAttribute("aria-expanded", false);
  find(card).hidden = !find(card).hidden;
  button.setAttribute("aria-expanded", !find(card).hidden);
}

async function copyLink() {
  writePlace(state, view);
  try {
    await navigator.clipboard.writeText(location.href);
    showNote("the link is copied");
  } catch {
    showNote("copy the address of this page: it names the place");
  }
}

function nudge(step) {
  const key = state.mode === "blend" ? "opacity" : "curtain";
  update({ [key]: Math.min(1, Math.max(0, state[key] + step)) });
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KEYS = {
  " ": () => update({ swapped: !state.swapped }),
  "+": () => zoomBy(2),
  "=": () => zoomBy(2),
  "-": () => zoomBy(0.5),
  0: () => panes.fit(),
  "[": () => nudge(-0.05),
  "]": () => nudge(0.05),
  t: () => toggleLayers("tissue"),
  a: () => toggleLayers("annotations"),
  r: () => toggleLayers("trust"),
  x: () => update({ smooth: !state.smooth }),
  k: copyLink,
  p: () => savePicture(panes, description, view, state),
  l: () => toggleCard("layers", find("show-layers")),
  h: () => toggleCard("help", find("show-help")),
  ...Object.fromEntries(Object.entries(MODES).map(([key, mode]) => [key, () => update({ mode })])),
  ...Object.fromEntries(OBJECTIVES.map((objective, index) => [index + 1, () => zoomTo(objectiveResolution(objective))])),
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input[type=range]")) return;
  // Who walks through the buttons by Tab presses them by the space bar.
  if (event.key === " " && event.target.matches("button:focus-visible, input:focus-visible")) return;
  if (event.target.id === "handle" && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
    nudge(event.key === "ArrowLeft" ? -0.01 : 0.01);
  } else if (ARROWS[event.key]) {
    moveBy(...ARROWS[event.key], event.shiftKey);
  } else if (KEYS[event.key]) {
    KEYS[event.key]();
  } else {
    return;
  }
  event.preventDefault();
});

find("modes").addEventListener("click", (event) => event.target.dataset.mode && update({ mode: event.target.dataset.mode }));
find("zooms").addEventListener("click", ({ target }) => {
  if (target.dataset.objective) zoomTo(objectiveResolution(Number(target.dataset.objective)));
  else if (target.dataset.zoom === "fit") panes.fit();
  else if (target.dataset.zoom) zoomBy(target.dataset.zoom === "in" ? 2 : 0.5);
});
find("opacity").addEventListener("input", (event) => update({ opacity: Number(event.target.value) }));
find("smooth").addEventListener("change", (event) => update({ smooth: event.target.checked }));
find("show-layers").addEventListener("click", (event) => toggleCard("layers", event.currentTarget));
find("show-help").addEventListener("click", (event) => toggleCard("help", event.currentTarget));
find("copy-link").addEventListener("click", copyLink);
find("save-picture").addEventListener("click", KEYS.p);
for (const side of ["left", "right"]) {
  for (const number of comparable) find(`pick-${side}`).add(new Option(images[number].name, number));
  find(`pick-${side}`).addEventListener("change", (event) => update({ [side]: Number(event.target.value), swapped: false }));
}
for (const button of document.querySelectorAll("header button")) {
  // A click must not leave the focus on a button that the space bar would press.
  button.addEventListener("pointerup", () => button.blur());
}
if (comparable.length < 2) find("modes").hidden = true;
if (description.unit !== "um") {
  // Without a pixel size there is no magnification, but 1:1, which 10x would be at 1 um a pixel.
  for (const button of find("zooms").children) button.hidden = Boolean(button.dataset.objective) && button.dataset.objective !== "10";
  Object.assign(find("zooms").querySelector("[data-objective='10']"), { textContent: "1:1", title: "An image pixel a screen pixel (2)" });
}

find("handle").addEventListener("pointerdown", (event) => {
  const box = find("stage").getBoundingClientRect();
  const move = ({ clientX }) => update({ curtain: Math.min(1, Math.max(0, (clientX - box.left) / box.width)) });
  event.currentTarget.setPointerCapture(event.pointerId);
  event.currentTarget.onpointermove = move;
  event.currentTarget.onpointerup = (end) => (end.currentTarget.onpointermove = null);
});

const shorten = (name) => (name.length > 32 ? `${name.slice(0, 18)}…${name.slice(-12)}` : name);

panes.onPointer = (coordinate) => {
  const inUm = description.unit === "um";
  find("position").textContent = !coordinate ? "" : inUm ? `x ${coordinate[0].toFixed(1)}  y ${(-coordinate[1]).toFixed(1)} µm` : "";
  find("pixels").textContent = !coordinate
    ? ""
    : [...new Set(panes.maps.flatMap((map) => map.images))]
        .map((image) => [image, (coordinate[0] - image.left) / image.mpp, (-coordinate[1] - image.top) / image.mpp])
        .filter(([image, x, y]) => x >= 0 && y >= 0 && x < image.width && y < image.height)
        .map(([image, x, y]) => `${shorten(image.name)}: ${Math.floor(x)}, ${Math.floor(y)} px`)
        .join("    ");
};

listLayers(description, find("layer-list"), (key, change) => {
  Object.assign(state.layers[key], change);
  update();
});
find("layers-title").hidden = !find("layer-list").children.length;
describeFacts(description, find("facts"));

Object.assign(state, readPlace(state, images));
await update();
const place = readPlace.position();
if (place) {
  view.setCenter(place.center);
  view.setResolution(place.resolution);
} else {
  panes.fit();
}
view.on("change", showPlace);
for (const map of panes.maps) {
  map.once("rendercomplete", () => {
    document.documentElement.setAttribute("data-drawn", "");
    find("first")?.remove();
  });
}
addEventListener("pointerup", () => setTimeout(snapToPixels, 300));
addEventListener("hashchange", () => {
  const position = readPlace.position();
  update(readPlace(state, images));
  if (position) {
    view.setCenter(position.center);
    view.setResolution(position.resolution);
  }
});
addEventListener("resize", showPlace);
showPlace();
const runs = new RunWatch(images, store, (image) => {
  if (image === miniMap.image) miniMap.load();
  panes.restyle();
});
window.wsisrView = { view, state, panes, runs, update }; // for the console, and for tests
