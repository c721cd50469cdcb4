// The page: its controls are the state, and the address holds them, so that a face can be sent as a link.

import { Faces } from "./faces.js";

const MORE = 8; // small faces below
const MAX_SEED = 4294967295;
const STYLES = {
  coarse: "Coarse layers",
  middle: "Middle layers",
  fine: "Fine layers",
};

const find = (id) => document.getElementById(id);
const [face, pixels, status, seed, psi, mix, other, more] = [
  "face", "pixels", "status", "seed", "psi", "mix", "other", "more",
].map(find);
let faces;

const seedOf = (input) => Math.min(MAX_SEED, Math.max(0, Math.trunc(Number(input.value)) || 0));
const anySeed = () => Math.floor(Math.random() * 1e6);
const styles = () => document.querySelector("input[name=styles]:checked").value;
const label = () => [...document.querySelectorAll("#labels select")].map((select) => Number(select.value));

// ---- drawing

/** Everything anew: the face, then the one it is mixed with, then the small ones. */
async function draw(current) {
  const chosen = seedOf(seed);
  const layers = faces.about.bands[styles()];
  find("psi-value").textContent = Number(psi.value).toFixed(2);
  find("second").hidden = !layers;
  remember();
  let w = await faces.w(chosen, label());
  if (layers) w = faces.mixed(w, await faces.w(seedOf(mix), label()), layers);
  const { image, milliseconds } = await faces.picture(w, Number(psi.value), label());
  pixels.getContext("2d").putImageData(image, 0, 0);
  const context = face.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.clearRect(0, 0, face.width, face.height); // of pictures with transparent parts
  context.drawImage(pixels, 0, 0, face.width, face.height);
  const mixed = layers ? `, ${STYLES[styles()].toLowerCase()} of seed ${seedOf(mix)}` : "";
  face.setAttribute("aria-label", `Synthetic face of seed ${chosen}${mixed}`);
  status.textContent = `Synthetic. Made here in ${milliseconds.toFixed(0)} ms.`;
  face.dataset.made = location.hash;
  if (layers && current()) await small(other, seedOf(mix));
  for (const [index, button] of [...more.children].entries()) {
    if (!current()) return;
    const next = (chosen + 1 + index) % (MAX_SEED + 1);
    button.dataset.seed = next;
    button.setAttribute("aria-label", `Face of seed ${next}`);
    await small(button.firstChild, next);
  }
}

async function small(canvas, number) {
  const { image } = await faces.picture(await faces.w(number, label()), Number(psi.value), label());
  canvas.getContext("2d").putImageData(image, 0, 0);
}

let wish = 0;
let drawing = Promise.resolve();

/** Draws what the controls say, as soon as what is being drawn is done or given up. */
function refresh() {
  const mine = ++wish;
  drawing = drawing.then(() => (mine === wish ? draw(() => mine === wish) : undefined)).catch(failed);
}

function failed(error) {
  status.textContent = `Something went wrong: ${error.message}`;
  console.error(error);
}

// ---- the address

function remember() {
  const parts = { seed: seedOf(seed), psi: psi.value };
  if (styles()) Object.assign(parts, { mix: seedOf(mix), styles: styles() });
  for (const [index, value] of label().entries()) parts[`label${index}`] = value;
  history.replaceState(null, "", `#${new URLSearchParams(parts)}`);
}

function recall() {
  const parts = new URLSearchParams(location.hash.slice(1));
  for (const input of [seed, psi, mix]) if (parts.has(input.id)) input.value = parts.get(input.id);
  for (const [index, select] of [...document.querySelectorAll("#labels select")].entries()) {
    if (select.options[parts.get(`label${index}`)]) select.value = parts.get(`label${index}`);
  }
  const wanted = parts.get("styles") ?? "";
  for (const radio of document.querySelectorAll("input[name=styles]")) radio.checked = radio.value === wanted;
  if (!document.querySelector("input[name=styles]:checked")) {
    document.querySelector("input[name=styles]").checked = true;
  }
}

// ---- the controls

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function prepare({ height, width, bands, labels, name, licence, data }) {
  const scale = Math.max(1, Math.round(768 / Math.max(height, width)));
  Object.assign(face, { width: width * scale, height: height * scale });
  face.style.aspectRatio = `${width} / ${height}`;
  for (const canvas of [pixels, other]) Object.assign(canvas, { width, height });
  for (let index = 0; index < MORE; index++) {
    const button = element("button", { type: "button" }, element("canvas", { width, height }));
    button.addEventListener("click", () => {
      seed.value = button.dataset.seed;
      refresh();
    });
    more.append(button);
  }
  for (const band of Object.keys(bands)) {
    const radio = element("input", { type: "radio", name: "styles", value: band });
    document.querySelector(".styles").append(element("label", {}, radio, element("span", {}, STYLES[band])));
  }
  find("mixing").hidden = Object.keys(bands).length < 2;
  for (const { name, values, usual } of labels) {
    const options = values.map((text, value) => element("option", { value, textContent: text }));
    const select = element("select", {}, ...options);
    select.value = usual;
    find("labels").append(element("label", { className: "row" }, element("span", {}, name), select));
  }
  const of = data ? `, trained on ${data}` : "";
  find("about").textContent = `Made by ${name}${of}. Licence of the model: ${licence || "not stated"}.`;
}

async function start() {
  if (location.protocol === "file:") throw new Error("serve this folder; a browser runs no modules from a file");
  faces = await Faces.load();
  prepare(faces.about);
  recall();
  find("new").disabled = false;
  find("new").addEventListener("click", () => {
    seed.value = anySeed();
    refresh();
  });
  find("other-new").addEventListener("click", () => {
    mix.value = anySeed();
    refresh();
  });
  find("controls").addEventListener("input", refresh);
  find("controls").addEventListener("submit", (event) => event.preventDefault());
  window.addEventListener("hashchange", () => {
    recall();
    refresh();
  });
  refresh();
}

start().catch(failed);
