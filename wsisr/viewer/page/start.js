// The overview is shown first, and only then the library started: while it does, a browser paints nothing.

const PATIENCE_MS = 1000; // the overview of a slide of one level is made from all of its pixels

const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Resolves when the overview is painted, or will not be; a link to a place begins there.
async function showOverview() {
  if (location.hash) return;
  const picture = Object.assign(document.createElement("img"), { id: "first", src: "thumbnails/0.jpg", alt: "" });
  document.getElementById("stage").prepend(picture);
  try {
    await picture.decode();
  } catch {
    picture.remove(); // the page itself says what is wrong
    return;
  }
  await Promise.race([new Promise(requestAnimationFrame), wait(100)]); // a tab in the background paints nothing
  await wait(0);
  document.documentElement.setAttribute("data-first", "");
}

function loadLibrary() {
  return new Promise((resolve, reject) => {
    document.head.append(Object.assign(document.createElement("script"), { src: "ol.js", onload: resolve, onerror: reject }));
  });
}

await Promise.race([showOverview(), wait(PATIENCE_MS)]);
await loadLibrary();
await import("./main.js");
