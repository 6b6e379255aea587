// What the page asks, answered in the browser: the run and its examples by files of this site,
// opened images here, translations by the network in a worker. Nothing leaves this computer.

const about = await (await fetch("about.json")).json();
const { graph } = about;
const bar = document.createElement("progress");
const waiting = new Map(); // the promise of each translation, by its number
let count = 0;
let broken = null; // why the network cannot run
const worker = start();

export async function ask(address, body) {
  const [what, rest] = address.split(/[/?]/, 2);
  if (what === "about") return new Response(JSON.stringify(about));
  if (what === "example") return found(await fetch(`examples/${Number(rest)}.png`));
  if (what === "open") return new Response(await fitted(body));
  return new Response(await translated(body));
}

function found(answer) {
  if (!answer.ok) throw new Error("The example is not there.");
  return answer;
}

// The network ----------------------------------------------------------------------------

function start() {
  for (const name of ["WebAssembly", "OffscreenCanvas", "Worker"]) {
    if (!(name in globalThis)) {
      fail(`this browser lacks ${name}; a newer one has it`);
      return null;
    }
  }
  const found = new Worker(new URL("network.js", import.meta.url), { type: "module" });
  found.onmessage = ({ data }) => receive(data);
  found.onerror = event => fail(event.message || "this browser cannot run modules in workers");
  bar.max = 1;
  bar.value = 0;
  bar.setAttribute("aria-label", "The network is loading");
  document.getElementById("results").append(bar);
  return found;
}

function receive(data) {
  if (data.error && data.number === undefined) {
    fail(data.error);
  } else if (data.total) {
    bar.value = data.loaded / data.total;
    const [done, all] = [data.loaded, data.total].map(bytes => (bytes / 1e6).toFixed(0));
    document.getElementById("state").textContent = `loading ${done} of ${all} MB`;
  } else if (data.ready) {
    bar.remove();
    document.getElementById("state").textContent = "";
    document.body.dataset.network = data.ready; // wasm or webgpu
  } else {
    const { resolve, reject } = waiting.get(data.number);
    waiting.delete(data.number);
    if (data.error) reject(new Error(data.error));
    else resolve(data);
  }
}

function fail(why) {
  broken = new Error(`The network cannot run here: ${why}`);
  bar.remove();
  for (const { reject } of waiting.values()) reject(broken);
  waiting.clear();
}

function run(inputs) {
  if (broken) throw broken;
  const number = count++;
  return new Promise((resolve, reject) => {
    waiting.set(number, { resolve, reject });
    worker.postMessage({ number, inputs });
  });
}

async function translated(file) {
  const given = await pixelsOf(file);
  const inputs = inputsOf(given);
  const { data, height, width, channels } = await run(inputs);
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const stays = inputs.mask && !inputs.mask.values[i]; // outside of a hole, to the byte
    for (let c = 0; c < 3; c++) {
      image.data[4 * i + c] = stays ? given.data[4 * i + c] : data[channels * i + c % channels];
    }
    image.data[4 * i + 3] = 255;
  }
  return fileOf(image);
}

// From images to what the network takes, and back ------------------------------------------

// The pixels of a file, with exact values.
async function pixelsOf(file) {
  const how = { premultiplyAlpha: "none", colorSpaceConversion: "none" };
  const bitmap = await createImageBitmap(file, how);
  return contextOf(bitmap.width, bitmap.height, bitmap).getImageData(0, 0, bitmap.width, bitmap.height);
}

function contextOf(width, height, image, ...where) {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.imageSmoothingEnabled = graph.kind !== "classes";
  if (image) context.drawImage(image, ...(where.length ? where : [0, 0]));
  return context;
}

function fileOf(image) {
  const context = contextOf(image.width, image.height);
  context.putImageData(image, 0, 0);
  return context.canvas.convertToBlob({ type: "image/png" });
}

function inputsOf({ data, width, height }) {
  if (graph.kind === "holes") return holesOf(data, width, height / (1 + graph.parts.length));
  const values = new Uint8Array(width * height * graph.channels);
  for (let i = 0; i < width * height; i++) {
    const [r, g, b] = data.subarray(4 * i, 4 * i + 3);
    if (graph.kind === "classes") values[i] = classOf(r, g, b);
    else if (graph.channels === 3) values.set([r, g, b], 3 * i);
    else values[i] = (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16; // ITU-R 601-2, as PIL
  }
  const dims = [1, height, width, graph.channels];
  return { input: { type: "uint8", values, dims } };
}

const classes = new Map(); // the number of each colour that was met

function classOf(r, g, b) {
  const key = (r << 16) | (g << 8) | b;
  if (!classes.has(key)) {
    const far = graph.colours.map(([x, y, z]) => (x - r) ** 2 + (y - g) ** 2 + (z - b) ** 2);
    classes.set(key, far.indexOf(Math.min(...far)));
  }
  return classes.get(key);
}

// An image, below it what is to be filled in white, and below that the lines.
function holesOf(data, width, height) {
  const size = width * height;
  const image = new Float32Array(3 * size);
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) image[c * size + i] = data[4 * i + c] / 127.5 - 1;
  }
  const found = { image: { type: "float32", values: image, dims: [1, 3, height, width] } };
  graph.parts.forEach((name, part) => {
    const values = new Float32Array(size);
    for (let i = 0; i < size; i++) values[i] = Number(data[4 * (size * (1 + part) + i)] > 127);
    found[name] = { type: "float32", values, dims: [1, 1, height, width] };
  });
  return found;
}

// The network's input for a file: resized and cropped as test.py does it, by the browser's filter.
async function fitted(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error("This file is no image that the browser can read.");
  }
  const [width, height] = resizedSize(bitmap.width, bitmap.height);
  const crops = graph.preprocess.endsWith("crop");
  const size = crops ? [graph.crop_size, graph.crop_size] : [width, height];
  if (Math.min(width, height) < Math.min(...size)) {
    throw new Error(`${width}x${height} pixels are smaller than ${size[0]}x${size[1]}.`);
  }
  if (size[0] * size[1] > graph.most) {
    throw new Error(`${size[0]}x${size[1]} pixels are too many for this page.`);
  }
  const [left, top] = [width - size[0], height - size[1]].map(rest => Math.floor(rest / 2));
  const context = contextOf(...size, bitmap, -left, -top, width, height);
  return context.canvas.convertToBlob({ type: "image/png" });
}

function resizedSize(width, height) {
  const { preprocess, load_size: load, crop_size: crop, aspect_ratio: ratio } = graph;
  if (preprocess === "resize_and_crop") return [load, load];
  if (preprocess === "fixed") return [crop, Math.max(1, Math.round(crop / ratio))];
  if (preprocess.startsWith("scale_width")) {
    return [load, Math.max(Math.floor((load * height) / width), crop)];
  }
  return [width, height];
}
