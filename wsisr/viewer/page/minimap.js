// The overview in the corner: where the view is on the first image; a click goes there.

import { withVersion } from "./images.js";

const LONGEST_PX = 180;

export class MiniMap {
  constructor(root, image, view, getSize) {
    Object.assign(this, { root, image, view, getSize });
    this.box = root.querySelector("#minimap-box");
    this.load();
    this.scale = LONGEST_PX / Math.max(image.width, image.height); // px of the overview per px of the image
    root.style.width = `${image.width * this.scale}px`;
    root.style.height = `${image.height * this.scale}px`;
    root.addEventListener("pointerdown", (event) => {
      root.setPointerCapture(event.pointerId);
      this.goTo(event);
      root.onpointermove = (move) => this.goTo(move);
      root.onpointerup = () => (root.onpointermove = null);
    });
  }

  load() {
    this.root.querySelector("#minimap-picture").src = withVersion(this.image.thumbnail, this.image);
  }

  goTo({ clientX, clientY }) {
    const { left, top } = this.root.getBoundingClientRect();
    const um = this.image.mpp / this.scale;
    this.view.setCenter([this.image.left + (clientX - left) * um, -this.image.top - (clientY - top) * um]);
  }

  update() {
    const size = this.getSize();
    if (!size) return;
    const [x, y] = this.view.getCenter();
    const px = this.scale / this.image.mpp;
    const [width, height] = size.map((side) => side * this.view.getResolution() * px);
    this.box.style.width = `${width}px`;
    this.box.style.height = `${height}px`;
    this.box.style.left = `${(x - this.image.left) * px - width / 2}px`;
    this.box.style.top = `${(-y - this.image.top) * px - height / 2}px`;
  }
}
