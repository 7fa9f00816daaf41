// The panes: one map for curtain, blink and blend, or one map an image side by side; all share one OpenLayers view.
/* global ol */
import { extentOf } from "./images.js";

const RESEARCH = "super-resolved, research use only";

export const describeDerived = (image) =>
  image.derived ? (image.derived.startsWith("super-resolved") ? RESEARCH : image.derived) : "";

function addBox(event, from, to) {
  const a = ol.render.getRenderPixel(event, from);
  const b = ol.render.getRenderPixel(event, to);
  event.context.rect(a[0], a[1], b[0] - a[0], b[1] - a[1]);
}

// What a run has not finished is hatched: white would look like glass.
function hatch(map, event, [left, bottom, right, top]) {
  const tile = Object.assign(document.createElement("canvas"), { width: 16, height: 16 });
  const pen = tile.getContext("2d");
  pen.fillStyle = "#e9edf0";
  pen.fillRect(0, 0, 16, 16);
  pen.strokeStyle = "#c3ccd3";
  pen.lineWidth = 2;
  for (const x of [-16, 0, 16]) {
    pen.moveTo(x, 16);
    pen.lineTo(x + 16, 0);
  }
  pen.stroke();
  event.context.fillStyle = event.context.createPattern(tile, "repeat");
  event.context.beginPath();
  addBox(event, map.getPixelFromCoordinate([left, top]), map.getPixelFromCoordinate([right, bottom]));
  event.context.fill();
}

export class Panes {
  constructor(root, handle, store, view) {
    Object.assign(this, { root, handle, store, view });
    this.maps = [];
    this.state = null;
    this.onPointer = () => {};
  }

  // Rebuild the maps for a state: {mode, left, right, swapped, opacity, curtain, layers}.
  async show(state) {
    const isNew = !this.state || ["mode", "left", "right"].some((key) => this.state[key] !== state[key]) || this.isStale;
    this.state = { ...state };
    if (isNew) this.build();
    this.isStale = false;
    this.restyle();
    await this.showLayers();
  }

  build() {
    for (const map of this.maps) map.setTarget(null);
    this.root.replaceChildren();
    const comparable = this.store.images;
    const { mode, left, right } = this.state;
    const isSide = mode === "side" && comparable.length > 1;
    const groups = isSide ? comparable.slice(0, 4).map((image) => [image]) : [[...new Set([left, right])].map((number) => this.store.images[number])];
    const columns = groups.length === 4 ? 2 : groups.length;
    this.root.style.gridTemplateColumns = `repeat(${columns}, 1fr)`;
    this.root.style.gridTemplateRows = `repeat(${Math.ceil(groups.length / columns)}, 1fr)`;
    this.maps = groups.map((images) => this.makeMap(images));
  }

  makeMap(images) {
    const pane = document.createElement("div");
    pane.className = "pane";
    this.root.append(pane);
    const map = new ol.Map({
      target: pane,
      view: this.view,
      controls: [],
      interactions: ol.interaction.defaults.defaults({ altShiftDragRotate: false, pinchRotate: false, keyboard: false, doubleClickZoom: true }),
      layers: images.map((image, index) => this.store.makeLayer(image, `image-${index}`)),
    });
    map.images = images;
    map.pane = pane;
    map.imageLayers = map.getLayers().getArray().slice();
    map.imageLayers.forEach((layer, index) => this.clipLayer(map, layer, index));
    map.on("pointermove", (event) => this.onPointer(event.coordinate));
    pane.addEventListener("pointerleave", () => this.onPointer(null));
    return map;
  }

  // In the curtain, an image is drawn on its own side of the handle only.
  clipLayer(map, layer, index) {
    layer.on("prerender", (event) => {
      event.context.save();
      if (this.state.mode === "curtain" && map.images.length > 1) this.clipToSide(map, event, index);
      if (map.images[index].run) hatch(map, event, extentOf(map.images[index]));
    });
    layer.on("postrender", (event) => event.context.restore());
  }

  clipToSide(map, event, index) {
    const [width, height] = map.getSize();
    const x = Math.round(width * this.state.curtain);
    const [from, to] = this.isLeft(index) ? [0, x] : [x, width];
    event.context.beginPath();
    addBox(event, [from, 0], [to, height]);
    event.context.clip();
  }

  isLeft(index) {
    return (index === 0) !== this.state.swapped;
  }

  // What changes without new maps: which image is seen, how strongly, and the captions.
  restyle() {
    const { mode, opacity, curtain, swapped } = this.state;
    for (const map of this.maps) {
      const isPair = map.images.length > 1;
      map.imageLayers.forEach((layer, index) => {
        layer.setVisible(!isPair || mode !== "blink" || this.isLeft(index));
        layer.setOpacity(isPair && mode === "blend" && !this.isLeft(index) ? opacity : 1);
        layer.setZIndex(isPair && mode === "blend" && !this.isLeft(index) ? 2 : 1);
      });
      this.writeCaptions(map, isPair, mode, swapped);
      map.render();
    }
    this.handle.hidden = mode !== "curtain" || this.maps.length !== 1 || this.maps[0].images.length < 2;
    this.handle.style.left = `${curtain * 100}%`;
  }

  writeCaptions(map, isPair, mode, swapped) {
    map.pane.querySelectorAll(".caption").forEach((caption) => caption.remove());
    const shown = isPair ? (swapped ? [...map.images].reverse() : map.images) : map.images;
    const places = !isPair || mode === "blink" ? [["left only", shown[0]]] : [["left", shown[0]], ["right", shown[1]]];
    for (const [place, image] of places) {
      const caption = document.createElement("div");
      caption.className = `caption ${place}`;
      const texts = [["name", image.name], ["progress", image.run?.words], ["research", describeDerived(image)]];
      for (const [kind, text] of texts) {
        if (!text) continue;
        const line = document.createElement("span");
        line.className = kind;
        line.textContent = text;
        caption.append(line);
      }
      map.pane.append(caption);
    }
  }

  async showLayers() {
    const { layers } = this.state;
    for (const map of this.maps) {
      map.overlays ??= new Map();
      for (const [key, { visible, opacity }] of Object.entries(layers)) {
        if (visible && !map.overlays.has(key)) {
          map.overlays.set(key, null); // a second call must not make it again while it is fetched
          const layer = await this.makeOverlay(key);
          layer.setZIndex(10);
          map.overlays.set(key, layer);
          map.addLayer(layer);
        }
        const layer = map.overlays.get(key);
        if (layer) {
          layer.setVisible(layers[key].visible);
          layer.setOpacity(opacity);
        }
      }
    }
  }

  makeOverlay(key) {
    const [kind, number] = key.split(":");
    if (kind === "annotations") return this.store.makeAnnotationLayer(this.store.annotations[number]);
    if (kind === "tissue") return this.store.makeTissueLayer(this.store.images[number]);
    return this.store.makeTrustLayer(this.store.trust[number]);
  }

  fit() {
    const extent = ol.extent.createEmpty();
    for (const map of this.maps) for (const image of map.images) ol.extent.extend(extent, extentOf(image));
    this.view.fit(extent, { size: this.maps[0].getSize(), padding: [20, 20, 20, 20] });
  }
}
