// The card of layers and facts. All words of files are text, never markup.

export function listLayers(description, root = null, change = () => {}) {
  const first = description.images.findIndex((image) => !image.overlay);
  const layers = [
    { key: `tissue:${first}`, name: "tissue that wsisr finds", opacity: 1 },
    ...description.images.flatMap((image, number) => (image.overlay ? [{ key: `image:${number}`, name: image.name, opacity: 0.6 }] : [])),
    ...description.annotations.map(({ name }, number) => ({ key: `annotations:${number}`, name, opacity: 1 })),
  ];
  if (root) for (const layer of layers) root.append(makeRow(layer, change));
  return layers;
}

function makeRow({ key, name, opacity }, change) {
  const row = document.createElement("label");
  row.className = "row";
  const check = Object.assign(document.createElement("input"), { type: "checkbox" });
  check.dataset.layer = key;
  const text = document.createElement("span");
  text.textContent = text.title = name;
  const slider = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 1, step: 0.05, value: opacity });
  slider.setAttribute("aria-label", "opacity");
  check.addEventListener("change", () => change(key, { visible: check.checked }));
  slider.addEventListener("input", () => change(key, { opacity: Number(slider.value) }));
  row.append(check, text, slider);
  row.update = (layers) => {
    check.checked = layers[key].visible;
    slider.value = layers[key].opacity;
  };
  return row;
}

export function describeFacts(description, root) {
  const add = (kind, text, className = "") => {
    const element = document.createElement(kind);
    element.textContent = text;
    element.className = className;
    root.append(element);
  };
  for (const image of description.images) {
    add("dt", image.name, "title");
    for (const [key, value] of image.facts) {
      add("dt", key);
      add("dd", value);
    }
  }
}
