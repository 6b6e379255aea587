// The worker that loads the network, and runs it: by WebGPU where the browser offers an adapter,
// else by WebAssembly with one thread, which needs no special headers of the host.

import { fileOf, inputsOf } from "./images.js";

const at = path => new URL(`../${path}`, self.location).href;
const session = load().catch(error => {
  self.postMessage({ error: error.message });
  throw error;
});

self.onmessage = async ({ data: { number, sheet, graph } }) => {
  try {
    const { ort, run } = await session;
    const inputs = inputsOf(sheet, graph);
    const feeds = Object.fromEntries(Object.entries(inputs).map(([name, { type, values, dims }]) =>
      [name, new ort.Tensor(type, values, dims)]));
    const { output } = await run.run(feeds);
    self.postMessage({ number, file: await fileOf(output, sheet.data, inputs.mask?.values) });
  } catch (error) {
    self.postMessage({ number, error: error.message });
  }
};

async function load() {
  const list = await fetch(at("network/files.json"));
  if (!list.ok) throw new Error("network/files.json is missing on this site");
  const files = await list.json();
  const provider = (await navigator.gpu?.requestAdapter().catch(() => null)) ? "webgpu" : "wasm";
  const { module, program } = files.runtime[provider];
  const total = [...program, ...files.weights].reduce((sum, part) => sum + part.size, 0);
  let loaded = 0;
  const more = bytes => self.postMessage({ loaded: (loaded += bytes), total });
  const ort = await import(at(`runtime/${module}`));
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = (await joined("runtime", program, more)).buffer;
  const weights = await joined("network", files.weights, more);
  const run = await ort.InferenceSession.create(weights, { executionProviders: [provider] });
  self.postMessage({ ready: provider });
  return { ort, run };
}

// The bytes of a file that lies in parts; an error if one is another than was exported.
async function joined(folder, parts, more) {
  const content = new Uint8Array(parts.reduce((sum, part) => sum + part.size, 0));
  let place = 0;
  for (const { file, size, sha256 } of parts) {
    const answer = await fetch(at(`${folder}/${file}`)).catch(() => {
      throw new Error(`${folder}/${file} cannot be loaded; is this device online?`);
    });
    if (!answer.ok) throw new Error(`${folder}/${file} is missing on this site`);
    const start = place;
    const reader = answer.body.getReader();
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      if (place + read.value.length > start + size) throw new Error(`${file} is too long`);
      content.set(read.value, place);
      place += read.value.length;
      more(read.value.length);
    }
    const part = content.subarray(start, place);
    if (part.length !== size || (await hashOf(part, sha256)) !== sha256) {
      throw new Error(`${folder}/${file} is damaged; load the page again`);
    }
  }
  return content;
}

// The SHA-256 of bytes; browsers compute it on https and on localhost only.
async function hashOf(bytes, otherwise) {
  if (!self.crypto?.subtle) return otherwise;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return [...digest].map(value => value.toString(16).padStart(2, "0")).join("");
}
