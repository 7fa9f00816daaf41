// Unfinished images: asks how far their runs are, as long as someone looks.

const EVERY_MS = 2000;

export class RunWatch {
  constructor(images, store, show) {
    Object.assign(this, { images, store, show });
    this.schedule();
  }

  schedule() {
    if (this.images.some(({ run }) => run && !run.ended)) setTimeout(() => this.look(), EVERY_MS);
  }

  async look() {
    if (!document.hidden) {
      const status = await fetch("status.json").then((answer) => answer.json()).catch(() => ({ runs: {} }));
      for (const [number, run] of Object.entries(status.runs)) this.update(this.images[number], run);
    }
    this.schedule();
  }

  update(image, run) {
    const { version, words } = image.run;
    image.run = run;
    if (run.version !== version) this.store.refresh(image);
    if (run.version !== version || run.words !== words) this.show(image);
  }
}
