// The card of layers and facts. All words of files are text, never markup.

export function listLayers(description, root = null, change = () => {}) {
  const layers = [
    ...(description.images[0].tissue ? [{ key: "tissue:0", name: "tissue that wsisr finds", opacity: 1 }] : []),
    ...description.trust.map(({ name, summary }, number) => ({ key: `trust:${number}`, name, summary, opacity: 1 })),
    ...description.annotations.map(({ name }, number) => ({ key: `annotations:${number}`, name, opacity: 1 })),
  ];
  for (const layer of root ? layers : []) {
    root.append(makeRow(layer, change));
    if (layer.key.startsWith("trust")) root.append(makeLegend(layer.summary));
  }
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

// What the colours of a trust layer mean, and what it says of the whole result.
function makeLegend(summary) {
  const legend = document.createElement("div");
  legend.className = "legend";
  for (const [kind, words] of [["clear", "≤ 5"], ["low", "5"], ["middle", "22"], ["high", "≥ 40"], ["unknown", "unknown, glass"]]) {
    const entry = document.createElement("span");
    const swatch = document.createElement("i");
    swatch.className = kind;
    entry.append(swatch, words);
    legend.append(entry);
  }
  const text = document.createElement("p");
  text.textContent = `The error may be so many grey levels. ${summary ? `O${summary.slice(1)}.` : ""}`;
  legend.append(text);
  return legend;
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
