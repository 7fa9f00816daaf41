// The scale bar: the longest round length that fits.

const TARGET_PX = 140;

export function chooseLength(resolution) {
  const most = resolution * TARGET_PX;
  const power = 10 ** Math.floor(Math.log10(most));
  return power * [5, 2, 1].find((step) => step * power <= most);
}

export function formatLength(length, unit) {
  if (unit !== "um") return `${Number(length.toPrecision(3))} px`;
  return length >= 1000 ? `${Number((length / 1000).toPrecision(3))} mm` : `${Number(length.toPrecision(3))} µm`;
}

export function drawScale(line, text, resolution, unit) {
  const length = chooseLength(resolution);
  line.style.width = `${length / resolution}px`;
  text.textContent = formatLength(length, unit);
}
