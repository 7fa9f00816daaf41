// The images and layers of the page as OpenLayers draws them. Lengths are um; OpenLayers counts y upwards.
/* global ol */

export const projection = new ol.proj.Projection({ code: "slide", units: "pixels", metersPerUnit: 1e-6 });

export const extentOf = (image) => [
  image.left,
  -image.top - image.height * image.mpp,
  image.left + image.width * image.mpp,
  -image.top,
];

// The grid of stored tiles. The coarsest level is drawn whose pixels are no larger than the screen's, but for a
// twentieth: none is enlarged before all are used up. OpenLayers' own choice knows nothing of screens of two pixels a
// CSS pixel.
class StoredGrid extends ol.tilegrid.TileGrid {
  getZForResolution(resolution) {
    const resolutions = this.getResolutions();
    const fits = resolutions.findIndex((level) => level * 0.95 <= resolution / devicePixelRatio);
    return fits < 0 ? resolutions.length - 1 : fits;
  }
}

// The pixels of an unfinished image change: under another address a browser asks for them again.
export const withVersion = (url, image) => (image.run ? `${url}?v=${image.run.version}` : url);

function makeSource(image, interpolate, reportError) {
  const levels = [...image.levels].reverse(); // OpenLayers counts from the coarsest
  const source = new ol.source.TileImage({
    projection,
    interpolate,
    transition: 0,
    wrapX: false,
    tileGrid: new StoredGrid({
      origin: [image.left, -image.top],
      resolutions: levels.map((level) => level.downsample * image.mpp),
      tileSizes: levels.map((level) => level.tile),
      sizes: levels.map((level) => [level.columns, level.rows]),
    }),
    tileUrlFunction: ([z, x, y]) => withVersion(levels[z].url.replace("{x}", x).replace("{y}", y), image),
  });
  source.on("tileloaderror", reportError);
  return source;
}

// Sources are shared by the panes, so that a tile is fetched once.
export class ImageStore {
  constructor(view, reportError) {
    this.images = view.images;
    this.annotations = view.annotations;
    this.trust = view.trust;
    this.reportError = reportError;
    this.interpolate = true;
    this.sources = new Map();
  }

  setInterpolation(interpolate) {
    this.interpolate = interpolate;
    this.sources.clear();
  }

  // Ask for the tiles of an unfinished image again; those on the screen stay until the new ones are there.
  refresh(image) {
    const source = this.sources.get(image.thumbnail);
    source?.setTileUrlFunction(source.getTileUrlFunction(), String(image.run.version));
  }

  makeLayer(image, className) {
    const key = image.thumbnail;
    if (!this.sources.has(key)) this.sources.set(key, makeSource(image, this.interpolate, this.reportError));
    return new ol.layer.Tile({
      className,
      source: this.sources.get(key),
      extent: extentOf(image),
      preload: 1,
      cacheSize: 1024,
    });
  }

  makeTissueLayer(image) {
    const source = new ol.source.ImageStatic({ url: image.tissue, imageExtent: extentOf(image), projection, interpolate: false });
    source.on("imageloaderror", this.reportError);
    return new ol.layer.Image({ className: "layer-tissue", source });
  }

  makeTrustLayer({ url, extent: [left, top, right, bottom] }) {
    const imageExtent = [left, -bottom, right, -top];
    const source = new ol.source.ImageStatic({ url, imageExtent, projection, interpolate: false });
    source.on("imageloaderror", this.reportError);
    return new ol.layer.Image({ className: "layer-trust", source });
  }

  async makeAnnotationLayer(annotation) {
    if (!annotation.features) annotation.features = await (await fetch(annotation.url)).json();
    const features = annotation.features.map((item) => {
      const feature = new ol.Feature(new ol.geom[item.type](item.coordinates));
      feature.setProperties({ name: item.name, colour: item.colour });
      return feature;
    });
    return new ol.layer.Vector({
      className: "layer-annotations",
      source: new ol.source.Vector({ features }),
      style: annotationStyle,
    });
  }
}

const styles = new Map();

function annotationStyle(feature, resolution) {
  const [red, green, blue] = feature.get("colour");
  const name = resolution < 4 ? feature.get("name") : "";
  const key = JSON.stringify([red, green, blue, name]);
  if (!styles.has(key)) {
    const colour = `rgb(${red}, ${green}, ${blue})`;
    const stroke = new ol.style.Stroke({ color: colour, width: 2 });
    const fill = new ol.style.Fill({ color: `rgba(${red}, ${green}, ${blue}, 0.08)` });
    styles.set(
      key,
      new ol.style.Style({
        stroke,
        fill,
        image: new ol.style.Circle({ radius: 5, stroke, fill }),
        text: new ol.style.Text({
          text: name,
          font: "600 12px system-ui, sans-serif",
          fill: new ol.style.Fill({ color: "#1f2a33" }),
          stroke: new ol.style.Stroke({ color: "rgba(255, 255, 255, 0.9)", width: 3 }),
          overflow: false,
        }),
      }),
    );
  }
  return styles.get(key);
}
