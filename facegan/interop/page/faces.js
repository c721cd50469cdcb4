// A model that makes faces: seed -> z -> w -> picture. No page in here.

import * as ort from "./ort/ort.wasm.min.mjs";
import { randn } from "./numpy_randn.js";

ort.env.wasm.numThreads = 1; // more would need headers that plain file servers do not send
ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;

/** What facegan exported beside this file, ready to run. */
export class Faces {
  static async load() {
    const faces = new Faces();
    const session = async (name) => {
      const file = await (await fetched(name)).arrayBuffer();
      return ort.InferenceSession.create(new Uint8Array(file));
    };
    const parts = [session("mapping.onnx"), session("faces.onnx"), fetched("model.json")];
    const [mapping, synthesis, about] = await Promise.all(parts);
    Object.assign(faces, { mapping, synthesis, about: await about.json() });
    faces.remembered = new Map();
    return faces;
  }

  /** w of a seed, Float32Array [num_ws * w_dim]; label: the number of each attribute's value. */
  async w(seed, label = []) {
    const key = [seed, ...label].join();
    if (!this.remembered.has(key)) {
      const z = Float32Array.from(randn(seed, this.about.z_dim));
      const inputs = { z: new ort.Tensor("float32", z, [1, z.length]), label: this.labelled(label) };
      const { w } = await this.mapping.run(only(inputs, this.mapping.inputNames));
      if (this.remembered.size > 200) this.remembered.clear();
      this.remembered.set(key, w.data);
    }
    return this.remembered.get(key);
  }

  /** w with the layers [first, end) of another face. */
  mixed(w, other, [first, end]) {
    const result = w.slice();
    const { w_dim } = this.about;
    result.set(other.subarray(first * w_dim, end * w_dim), first * w_dim);
    return result;
  }

  /** The picture of w as ImageData, and how many milliseconds it took. */
  async picture(w, psi, label = []) {
    const { num_ws, w_dim, height, width, channels } = this.about;
    const inputs = {
      w: new ort.Tensor("float32", w, [1, num_ws, w_dim]),
      psi: new ort.Tensor("float32", [psi], []),
      label: this.labelled(label),
    };
    const began = performance.now();
    const { images } = await this.synthesis.run(only(inputs, this.synthesis.inputNames), ["images"]);
    const milliseconds = performance.now() - began;
    const image = new ImageData(width, height);
    for (let pixel = 0; pixel < height * width; pixel++) {
      const colours = images.data.subarray(pixel * channels, (pixel + 1) * channels);
      const [red, green, blue, alpha] = channels === 1 ? [colours[0], colours[0], colours[0]] : colours;
      image.data.set([red, green, blue, alpha ?? 255], pixel * 4);
    }
    return { image, milliseconds };
  }

  labelled(label) {
    const vector = this.about.labels.flatMap(({ values }, place) => values.map((_, n) => +(n === label[place])));
    return new ort.Tensor("float32", vector, [1, vector.length]);
  }
}

async function fetched(name) {
  const answer = await fetch(new URL(name, import.meta.url));
  if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
  return answer;
}

function only(inputs, names) {
  return Object.fromEntries(names.map((name) => [name, inputs[name]]));
}
