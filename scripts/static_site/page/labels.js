// Label maps that are opened: their class numbers in the colours that stand for them on the page.

const FAR = 64; // distance in pixel values of a pixel that has no class's colour
const UNKNOWN = 255; // the number of unknown pixels in files

// What to show for a file, of which `bitmap` is what the browser reads. `numbers` says how the
// files of the run hold class numbers; it is null if they hold colours.
export async function inColours(file, bitmap, { colours, numbers }) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const image = context.getImageData(0, 0, canvas.width, canvas.height);
  const numberOf = numbers && numberReader(new Uint8Array(await file.arrayBuffer()));
  if (!numberOf) {
    checkColours(image.data, colours);
    return bitmap;
  }
  for (let i = 0; i < image.data.length; i += 4) {
    const index = classOf(numberOf(image.data.subarray(i, i + 3)), numbers, colours.length);
    image.data.set([...colours[index], 255], i);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}

// The function from the (r, g, b) of a pixel to the number that a PNG file of one channel holds
// there; null for other files.
function numberReader(bytes) {
  const header = new DataView(bytes.buffer);
  if (bytes.length < 26 || header.getUint32(0) !== 0x89504e47) return null;
  const [depth, kind] = [bytes[24], bytes[25]];
  if (kind === 0 && depth === 16) throw new Error("This page reads label maps of 8 bits, not 16.");
  if (kind === 0) return ([level]) => (depth === 1 ? level / 255 : level);
  if (kind !== 3) return null;
  const palette = paletteOf(bytes, header);
  return ([r, g, b]) => palette.get((r << 16) | (g << 8) | b);
}

// The number of each colour in the palette of a PNG file.
function paletteOf(bytes, header) {
  const palette = new Map();
  let start = 8;
  while (start + 8 < bytes.length && header.getUint32(start + 4) !== 0x504c5445) { // "PLTE"
    start += 12 + header.getUint32(start);
  }
  const [first, last] = [start + 8, start + 8 + header.getUint32(start)];
  for (let at = first; at < last; at += 3) {
    const colour = (bytes[at] << 16) | (bytes[at + 1] << 8) | bytes[at + 2];
    if (!palette.has(colour)) palette.set(colour, (at - first) / 3);
  }
  return palette;
}

// The class of a number in a file; the last of `count` colours may be that of unknown pixels.
function classOf(number, { offset, dontcare }, count) {
  const classes = count - Number(dontcare);
  const index = number - offset;
  if (dontcare && (number === UNKNOWN || index < 0)) return classes;
  if (index >= 0 && index < classes) return index;
  const range = `${offset} to ${classes - 1 + offset}`;
  throw new Error(`This file holds the class number ${number}; the classes here are ${range}.`);
}

function checkColours(data, colours) {
  const near = new Map(); // whether a class has about this colour, by the colour
  let far = 0;
  for (let i = 0; i < data.length; i += 4) {
    const [r, g, b] = data.subarray(i, i + 3);
    const key = (r << 16) | (g << 8) | b;
    if (!near.has(key)) {
      near.set(key, colours.some(([x, y, z]) => (x - r) ** 2 + (y - g) ** 2 + (z - b) ** 2 <= FAR ** 2));
    }
    far += Number(!near.get(key));
  }
  if (far > data.length / 8) {
    throw new Error("Most pixels of this file have none of the label colours; is it a photo?");
  }
}
