// A picture of what is shown: the canvases of all panes, with names, the line on research use, and the scale bar.
import { describeDerived } from "./panes.js";
import { chooseLength, formatLength } from "./scale.js";

export function drawPicture(panes, description, view, state) {
  const root = panes.root.getBoundingClientRect();
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(root.width * devicePixelRatio);
  canvas.height = Math.round(root.height * devicePixelRatio);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  for (const layer of panes.root.querySelectorAll(".pane canvas")) {
    if (!layer.width || layer.closest("[style*='display: none']")) continue;
    const box = layer.getBoundingClientRect();
    context.globalAlpha = Number(layer.parentNode.style.opacity || layer.style.opacity || 1);
    context.drawImage(
      layer,
      (box.left - root.left) * devicePixelRatio,
      (box.top - root.top) * devicePixelRatio,
      box.width * devicePixelRatio,
      box.height * devicePixelRatio,
    );
  }
  context.globalAlpha = 1;
  context.scale(devicePixelRatio, devicePixelRatio);
  writeCaptions(context, panes, root);
  if (!panes.handle.hidden) {
    context.fillStyle = "#fff";
    context.fillRect(Math.round(root.width * state.curtain) - 1, 0, 2, root.height);
  }
  drawBar(context, root, view.getResolution(), description.unit);
  return canvas;
}

function writeLabel(context, text, x, y, alignment, colour) {
  context.font = "600 13px system-ui, sans-serif";
  const width = context.measureText(text).width + 16;
  const left = alignment === "right" ? x - width : x;
  context.fillStyle = "rgba(255, 255, 255, 0.92)";
  context.fillRect(left, y, width, 22);
  context.fillStyle = colour;
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillText(text, left + 8, y + 11.5);
}

function writeCaptions(context, panes, root) {
  for (const caption of panes.root.querySelectorAll(".caption")) {
    const pane = caption.parentNode.getBoundingClientRect();
    const isRight = caption.classList.contains("right");
    const x = isRight ? pane.right - root.left - 10 : pane.left - root.left + 10;
    [...caption.children].forEach((line, index) => {
      const colour = line.className === "research" ? "#9a3412" : "#1f2a33";
      writeLabel(context, line.textContent, x, pane.top - root.top + 10 + 26 * index, isRight ? "right" : "left", colour);
    });
  }
}

function drawBar(context, root, resolution, unit) {
  const length = chooseLength(resolution);
  const px = length / resolution;
  const y = root.height - 20;
  context.fillStyle = "rgba(255, 255, 255, 0.92)";
  context.fillRect(12, y - 26, px + 20, 38);
  context.fillStyle = "#1f2a33";
  context.fillRect(22, y, px, 4);
  context.font = "600 13px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "alphabetic";
  context.fillText(formatLength(length, unit), 22 + px / 2, y - 7);
}

export function savePicture(panes, description, view, state) {
  drawPicture(panes, description, view, state).toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    const [x, y] = view.getCenter();
    const derived = panes.maps.some((map) => map.images.some(describeDerived)) ? "-research-use-only" : "";
    link.download = `wsisr-x${Math.round(x)}-y${Math.round(-y)}${derived}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }, "image/png");
}
