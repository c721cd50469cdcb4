"use strict";
// The page is complete without this: it adds numbers under the pointer, and a slider through the grids.

const number = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 4 });

/** The place of the value in the rising list `xs` that is nearest to x. */
function nearest(xs, x) {
  let best = 0;
  for (let k = 1; k < xs.length; k++) if (Math.abs(xs[k] - x) < Math.abs(xs[best] - x)) best = k;
  return best;
}

for (const chart of document.querySelectorAll(".chart")) {
  const { end, series } = JSON.parse(chart.dataset.chart);
  const area = chart.querySelector(".area");
  const pointer = area.querySelector(".pointer");
  const text = pointer.appendChild(document.createElement("p"));
  const hide = () => { pointer.hidden = true; };
  area.addEventListener("pointermove", (event) => {
    const box = area.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width * end;
    const closest = series.map((curve) => curve.x[nearest(curve.x, at)]);
    const x = closest.reduce((a, b) => Math.abs(b - at) < Math.abs(a - at) ? b : a);
    const lines = series.map((curve) => `${curve.name}  ${number.format(curve.y[nearest(curve.x, x)])}`);
    text.textContent = [`${x.toLocaleString("en-US")} images`, ...lines].join("\n");
    pointer.style.left = `${100 * x / end}%`;
    pointer.classList.toggle("left", x > end / 2);
    pointer.hidden = false;
  });
  area.addEventListener("pointerleave", hide);
  area.addEventListener("pointercancel", hide);
}

const film = document.querySelector(".film");
const frames = film ? [...film.querySelectorAll(".frame")] : [];
if (frames.length > 1) {
  const controls = film.querySelector(".controls");
  const slider = controls.querySelector("input");
  const button = controls.querySelector("button");
  let timer = 0;
  const show = (place) => {
    frames.forEach((frame, k) => frame.classList.toggle("shown", k === place));
    slider.value = String(place);
    slider.setAttribute("aria-valuetext", frames[place].querySelector("figcaption").textContent);
  };
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    button.textContent = "Play";
  };
  slider.max = String(frames.length - 1);
  slider.addEventListener("input", () => { stop(); show(Number(slider.value)); });
  button.addEventListener("click", () => {
    if (timer) return stop();
    let place = Number(slider.value);
    if (place === frames.length - 1) place = -1;
    button.textContent = "Pause";
    timer = setInterval(() => {
      show(++place);
      if (place === frames.length - 1) stop();
    }, 350);
  });
  film.classList.add("scripted");
  controls.hidden = false;
  show(frames.length - 1);
}
