// What the page asks, answered in the browser: the run and its examples by files of this site,
// opened images here, translations by the network in a worker. Nothing leaves this device.

import { inColours } from "./labels.js";

const about = await facts();
const { graph } = about;
const bar = document.createElement("progress");
const waiting = new Map(); // the promise of each translation, by its number
let count = 0;
let broken = null; // why the network cannot run
const worker = start();

export async function ask(address, body) {
  const [what, rest] = address.split(/[/?]/, 2);
  if (what === "about") return new Response(JSON.stringify(about));
  if (what === "example") return fileOf(`examples/${Number(rest)}.png`);
  if (what === "open") return new Response(await fitted(body));
  return new Response(await run(body.sheet()));
}

// What the page knows of the run; without it the page stays empty, and says why.
async function facts() {
  try {
    return await (await fileOf("about.json")).json();
  } catch (error) {
    const why = error instanceof SyntaxError ? "about.json is damaged." : error.message;
    document.getElementById("hint").textContent = why;
    throw new Error(why);
  }
}

async function fileOf(path) {
  const answer = await fetch(path).catch(() => {
    throw new Error(`${path} cannot be loaded. Is this device online?`);
  });
  if (!answer.ok) throw new Error(`${path} is missing on this site.`);
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
    else resolve(data.file);
  }
}

function fail(why) {
  broken = new Error(`The network cannot run here: ${why}`);
  bar.remove();
  for (const { reject } of waiting.values()) reject(broken);
  waiting.clear();
}

// Resolves to the file of the translation of what is painted, as ImageData.
function run(sheet) {
  if (broken) throw broken;
  const number = count++;
  return new Promise((resolve, reject) => {
    waiting.set(number, { resolve, reject });
    worker.postMessage({ number, sheet, graph });
  });
}

// Opened images --------------------------------------------------------------------------

// The network's input for a file: resized and cropped as test.py does it, by the browser's filter.
async function fitted(file) {
  let bitmap;
  try {
    const exact = graph.kind === "classes" && { colorSpaceConversion: "none" };
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", ...exact });
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
  const canvas = new OffscreenCanvas(...size);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.imageSmoothingEnabled = graph.kind !== "classes";
  const shown = graph.kind === "classes" ? await inColours(file, bitmap, graph) : bitmap;
  context.drawImage(shown, -left, -top, width, height);
  return canvas.convertToBlob({ type: "image/png" });
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
