// The place in the page's address: #x=...&y=...&r=... in um, and how the images are compared.

const NUMBERS = { opacity: "o", curtain: "h" };

const parameters = () => new URLSearchParams(location.hash.slice(1));

// Return what the address says of a state; what it lacks, or says wrongly, stays as it is.
export function readPlace(state, images) {
  const given = parameters();
  const changes = {};
  if (["curtain", "side", "blink", "blend"].includes(given.get("m"))) changes.mode = given.get("m");
  for (const side of ["left", "right"]) {
    const number = Number(given.get(side) ?? NaN);
    if (images[number]) changes[side] = number;
  }
  for (const [key, letter] of Object.entries(NUMBERS)) {
    const value = Number(given.get(letter) ?? NaN);
    if (value >= 0 && value <= 1) changes[key] = value;
  }
  if (given.has("swapped")) changes.swapped = given.get("swapped") === "1";
  const visible = (given.get("layers") ?? "").split(",");
  changes.layers = Object.fromEntries(
    Object.entries(state.layers).map(([key, layer]) => [key, { ...layer, visible: visible.includes(key) || (!given.has("x") && layer.visible) }]),
  );
  return changes;
}

// Return centre and resolution, or null where the address names none.
readPlace.position = () => {
  const [x, y, resolution] = ["x", "y", "r"].map((key) => Number(parameters().get(key) ?? NaN));
  return Number.isFinite(x) && Number.isFinite(y) && resolution > 0 ? { center: [x, -y], resolution } : null;
};

let timer = 0;

export function writePlace(state, view) {
  clearTimeout(timer);
  // Browsers refuse more than a few changes of the address a second.
  timer = setTimeout(() => {
    const [x, y] = view.getCenter();
    const words = { x: x.toFixed(3), y: (-y).toFixed(3), r: view.getResolution().toPrecision(8), m: state.mode };
    Object.assign(words, { left: state.left, right: state.right, swapped: state.swapped ? 1 : 0 });
    for (const [key, letter] of Object.entries(NUMBERS)) words[letter] = state[key].toFixed(3);
    const layers = Object.entries(state.layers).filter(([, layer]) => layer.visible).map(([key]) => key);
    if (layers.length) words.layers = layers.join(",");
    history.replaceState(null, "", `#${new URLSearchParams(words)}`);
  }, 150);
}
