// The overview as the first picture, where the whole slide is drawn once the library and its tiles are there.

if (!location.hash) {
  const picture = document.createElement("img");
  Object.assign(picture, { id: "first", src: "thumbnails/0.jpg", alt: "" });
  document.getElementById("stage").prepend(picture);
  picture.decode().then(() => document.documentElement.setAttribute("data-first", ""), () => picture.remove());
}
