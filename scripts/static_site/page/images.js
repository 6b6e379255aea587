// From what is painted to what the network takes, and from its output to a file.

// The inputs of a graph for ImageData, by name.
export function inputsOf({ data, width, height }, graph) {
  if (graph.kind === "holes") {
    return holesOf(data, width, height / (1 + graph.parts.length), graph.parts);
  }
  const values = new Uint8Array(width * height * graph.channels);
  for (let i = 0; i < width * height; i++) {
    const [r, g, b] = data.subarray(4 * i, 4 * i + 3);
    if (graph.kind === "classes") values[i] = classOf(r, g, b, graph.colours);
    else if (graph.channels === 3) values.set([r, g, b], 3 * i);
    else values[i] = (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16; // ITU-R 601-2, as PIL
  }
  return { input: { type: "uint8", values, dims: [1, height, width, graph.channels] } };
}

const classes = new Map(); // the number of each colour that was met

function classOf(r, g, b, colours) {
  const key = (r << 16) | (g << 8) | b;
  if (!classes.has(key)) {
    const far = colours.map(([x, y, z]) => (x - r) ** 2 + (y - g) ** 2 + (z - b) ** 2);
    classes.set(key, far.indexOf(Math.min(...far)));
  }
  return classes.get(key);
}

// An image, below it what is to be filled in white, and below that the lines.
function holesOf(data, width, height, parts) {
  const size = width * height;
  const image = new Float32Array(3 * size);
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) image[c * size + i] = data[4 * i + c] / 127.5 - 1;
  }
  const found = { image: { type: "float32", values: image, dims: [1, 3, height, width] } };
  parts.forEach((name, part) => {
    const values = new Float32Array(size);
    for (let i = 0; i < size; i++) values[i] = Number(data[4 * (size * (1 + part) + i)] > 127);
    found[name] = { type: "float32", values, dims: [1, 1, height, width] };
  });
  return found;
}

// The file of an output: uint8 (1, H, W, C), or floats (1, C, H, W) in [-1, 1], truncated as test.py
// does it. Outside of a `mask` the pixels of `given` stay, to the byte.
export function fileOf({ data, dims, type }, given, mask) {
  const [height, width, channels] = type === "uint8" ? dims.slice(1) : [...dims.slice(2), dims[1]];
  const size = height * width;
  const levels = type === "uint8"
    ? (i, c) => data[channels * i + (c % channels)]
    : (i, c) => ((data[(c % channels) * size + i] + 1) / 2) * 255;
  const image = new ImageData(width, height);
  for (let i = 0; i < size; i++) {
    const stays = mask && !mask[i];
    for (let c = 0; c < 3; c++) {
      const level = stays ? given[4 * i + c] : levels(i, c);
      image.data[4 * i + c] = Math.floor(Math.min(Math.max(level, 0), 255));
    }
    image.data[4 * i + 3] = 255;
  }
  const canvas = new OffscreenCanvas(width, height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}
