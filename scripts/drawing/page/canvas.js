// A canvas painted without smoothing, so that pixels keep exact label colours.

const MOST_UNDO_BYTES = 64 * 2 ** 20;

const channels = code => [1, 3, 5].map(i => parseInt(code.slice(i, i + 2), 16));
const coded = (data, i) =>
  "#" + [0, 1, 2].map(c => data[i + c].toString(16).padStart(2, "0")).join("");

export class Painting {
  // `alike` is the tolerance of a fill, in pixel values (0 to 255).
  constructor(canvas, paper, alike) {
    this.alike = alike;
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.paper = paper;
    this.undone = [];
    this.done = [];
  }

  get width() { return this.canvas.width; }
  get height() { return this.canvas.height; }

  // History of whole images; the oldest are dropped beyond MOST_UNDO_BYTES.
  remember() {
    this.done.push(this.pixels());
    this.undone = [];
    while (this.done.length > 1 && this.done.length * this.width * this.height * 4 > MOST_UNDO_BYTES) {
      this.done.shift();
    }
  }

  undo() { this.travel(this.done, this.undone); }
  redo() { this.travel(this.undone, this.done); }

  travel(from, to) {
    if (!from.length) return;
    to.push(this.pixels());
    this.restore(from.pop());
  }

  pixels() { return this.context.getImageData(0, 0, this.width, this.height); }

  restore(pixels) {
    this.resize(pixels.width, pixels.height);
    this.context.putImageData(pixels, 0, 0);
  }

  resize(width, height) {
    if (this.width !== width || this.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
  }

  clear() {
    this.context.fillStyle = this.paper;
    this.context.fillRect(0, 0, this.width, this.height);
  }

  show(image) { // an ImageBitmap; the canvas takes its size
    this.resize(image.width, image.height);
    if (this.paper) this.clear(); // what is transparent shows the paper
    this.context.drawImage(image, 0, 0);
  }

  // Tools, in pixels of the image.
  line(from, to, size, colour) {
    const steps = Math.max(Math.abs(to.x - from.x), Math.abs(to.y - from.y), 1);
    for (let i = 0; i <= steps; i++) {
      const x = from.x + ((to.x - from.x) * i) / steps;
      const y = from.y + ((to.y - from.y) * i) / steps;
      this.dot(Math.round(x), Math.round(y), size, colour);
    }
  }

  dot(x, y, size, colour) {
    const radius = size / 2;
    const first = Math.round(y - radius + 0.25);
    for (let row = first; row < first + size; row++) {
      const up = row + 0.5 - (first + radius);
      const half = Math.max(Math.round(Math.sqrt(Math.max(radius * radius - up * up, 0)) * 2), 1);
      this.box(Math.round(x - half / 2 + 0.25), row, half, 1, colour);
    }
  }

  rectangle(a, b, colour) {
    const [x, y] = [Math.min(a.x, b.x), Math.min(a.y, b.y)];
    this.box(x, y, Math.abs(a.x - b.x) + 1, Math.abs(a.y - b.y) + 1, colour);
  }

  box(x, y, width, height, colour) {
    this.context.fillStyle = colour;
    this.context.fillRect(x, y, width, height);
  }

  fill(at, colour) {
    const pixels = this.pixels();
    const { data, width, height } = pixels;
    const start = (at.y * width + at.x) * 4;
    const wanted = data.slice(start, start + 3);
    const paint = channels(colour);
    const seen = new Uint8Array(width * height);
    const waiting = [at.y * width + at.x];
    while (waiting.length) {
      const place = waiting.pop();
      const i = place * 4;
      const far = Math.max(...[0, 1, 2].map(c => Math.abs(data[i + c] - wanted[c])));
      if (seen[place] || far > this.alike) continue;
      seen[place] = 1;
      paint.forEach((value, c) => { data[i + c] = value; });
      const x = place % width;
      if (x > 0) waiting.push(place - 1);
      if (x < width - 1) waiting.push(place + 1);
      if (place >= width) waiting.push(place - width);
      if (place < width * (height - 1)) waiting.push(place + width);
    }
    this.context.putImageData(pixels, 0, 0);
  }

  // The colour of a pixel as #rrggbb.
  code({ x, y }) { return coded(this.context.getImageData(x, y, 1, 1).data, 0); }

  // The squared distance of a pixel from a colour.
  distance({ x, y }, code) {
    const { data } = this.context.getImageData(x, y, 1, 1);
    return channels(code).reduce((sum, value, c) => sum + (value - data[c]) ** 2, 0);
  }

  // The number of pixels of each colour, by #rrggbb.
  counts() {
    const { data } = this.pixels();
    const found = new Map();
    for (let i = 0; i < data.length; i += 4) {
      const colour = (data[i] << 16) | (data[i + 1] << 8) | data[i + 2];
      found.set(colour, (found.get(colour) ?? 0) + 1);
    }
    return new Map([...found].map(([colour, count]) =>
      ["#" + colour.toString(16).padStart(6, "0"), count]));
  }

  // What is to be translated, as ImageData.
  sheet() { return this.context.getImageData(0, 0, this.width, this.height); }

  // The same as a file.
  file() { return fileOf(this.sheet()); }
}

function fileOf(image) {
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas.convertToBlob({ type: "image/png" });
}

// An image in which brushes mark what is to be filled: its own pixels are never changed.
export class HolePainting extends Painting {
  // `colours` are those of the brushes: of a hole and, if there is one, of lines in it.
  constructor(canvas, colours) {
    super(canvas, "", 0);
    this.colours = colours;
    this.image = null; // what is below the marks, as ImageData
    this.marks = null; // for each pixel 0, or 1 + the number of its brush
  }

  get marked() { return Boolean(this.marks?.some(mark => mark)); }

  show(image) {
    this.context.clearRect(0, 0, this.width, this.height);
    super.show(image);
    this.image = super.pixels();
    this.marks = new Uint8Array(this.width * this.height);
    this.clear();
  }

  clear() {
    this.marks?.forEach((_, i) => { this.marks[i] = this.missing(i); });
    this.render(0, 0, this.width, this.height);
  }

  // The mark of a pixel without a brush: 1, a hole, where the image itself is transparent.
  missing(i) { return Number(this.image.data[4 * i + 3] === 0); }

  pixels() { return { image: this.image, marks: this.marks?.slice() }; }

  restore({ image, marks }) {
    this.image = image;
    this.marks = marks?.slice() ?? null;
    if (!image) return;
    this.resize(image.width, image.height);
    this.render(0, 0, image.width, image.height);
  }

  // Mark a box with the brush of a colour; with none, the image shows again as it was opened.
  box(x, y, width, height, colour) {
    if (!this.image) return;
    const [left, top] = [Math.max(x, 0), Math.max(y, 0)];
    const [right, bottom] = [Math.min(x + width, this.width), Math.min(y + height, this.height)];
    if (left >= right || top >= bottom) return;
    const mark = this.colours.indexOf(colour) + 1;
    for (let row = top; row < bottom; row++) {
      for (let i = row * this.width + left; i < row * this.width + right; i++) {
        this.marks[i] = mark || this.missing(i);
      }
    }
    if (mark) super.box(left, top, right - left, bottom - top, colour);
    else this.render(left, top, right - left, bottom - top);
  }

  render(x, y, width, height) {
    if (!this.image) return;
    const shown = new ImageData(this.image.data.slice(), this.image.width);
    const paints = this.colours.map(code => [...channels(code), 255]);
    this.marks.forEach((mark, i) => { if (mark) shown.data.set(paints[mark - 1], 4 * i); });
    this.context.putImageData(shown, 0, 0, x, y, width, height);
  }

  counts() { return new Map(); }

  // The file of the image as it was opened; null if there is no image.
  unmarked() {
    return this.image && fileOf(this.image);
  }

  // The image, below it what is to be filled in white and, if there is a brush for them, the lines.
  sheet() {
    const { width, height, data } = this.image;
    const sheet = new ImageData(width, height * (1 + this.colours.length));
    sheet.data.set(data);
    this.colours.forEach((_, brush) => {
      const map = data.length * (1 + brush);
      this.marks.forEach((mark, i) => sheet.data.set(white(mark > brush), map + 4 * i));
    });
    return sheet;
  }
}

const white = yes => (yes ? [255, 255, 255, 255] : [0, 0, 0, 255]);
