// The page logic: tools, palette, examples, files and translation.

import { ask } from "./asking.js";
import { Camera, Recorder, hasCamera } from "./camera.js";
import { HolePainting, Painting } from "./canvas.js";
import { complain, note, settled, succeeded } from "./messages.js";
import { Palette } from "./palette.js";
import { Latest } from "./translation.js";

const $ = id => document.getElementById(id);
const HINTS = {
  labels: "Paint label colours; the translation follows as you draw.",
  classes: "Paint classes; the translation follows as you draw.",
  lines: "Draw lines; the translation follows as you draw.",
  photo: "Drop, paste or open an image, and see its translation.",
  holes: "Drop, paste or open an image, and paint over what should go.",
};

const about = await (await ask("about")).json();
// Classes of near colours are other classes; elsewhere a fill also takes the fringes of JPEG.
const holes = about.kind === "holes";
const painting = holes
  ? new HolePainting($("canvas"), about.colours.map(([code]) => code))
  : new Painting($("canvas"), about.paper, about.classes ? 0 : 40);
const palette = new Palette($("palette"), $("find"), about.colours, paint);
let tool = "brush";
let colour = visibleColour(about.colours.map(([code]) => code)) ?? "#000000";
let from = null; // last point of a stroke, or first corner of a rectangle
let under = null; // the image without the rectangle being drawn
let cursor = null; // position of the keyboard cursor
let link = null; // object URL of the output
let recorder = null; // of the outputs, while they are recorded
let clock = null; // timer that shows the length of the recording
let shown = 1; // number of the example that was loaded last
let asked = 0; // number of images that were asked for

// Translation --------------------------------------------------------------------------------

const latest = new Latest(async () => {
  const started = performance.now();
  if (holes && !painting.marked) {
    $("state").textContent = painting.image ? "nothing to fill yet" : "";
    await show(await painting.unmarked());
    $("output").setAttribute("aria-busy", String(latest.waits));
    return;
  }
  $("output").setAttribute("aria-busy", "true");
  if (!camera.on) $("state").textContent = "translating…";
  try {
    const parts = holes ? `&parts=${["mask", "sketch"].slice(0, about.colours.length)}` : "";
    const answer = await ask(`translate?seed=${seed()}${parts}`, painting);
    await show(await answer.blob());
    $("state").textContent = camera.on
      ? `${camera.rate.toFixed(1)} frames a second`
      : `translated in ${((performance.now() - started) / 1000).toFixed(2)} s`;
    succeeded(started);
  } catch (error) {
    $("state").textContent = "";
    rest();
    if (error.status === 503) setTimeout(changed, 1000);
    else complain(error);
  }
  $("output").setAttribute("aria-busy", String(latest.waits));
});

// Show an image as the output.
async function show(blob) {
  if (link) URL.revokeObjectURL(link);
  link = blob && URL.createObjectURL(blob);
  $("result").hidden = $("download").disabled = !blob;
  if (!blob) return;
  $("result").src = link;
  await $("result").decode();
  recorder?.add($("result"));
}

function changed() {
  tellHistory();
  $("output").setAttribute("aria-busy", "true");
  latest.changed();
}

// Whether there is something to undo, to do again, and to save.
function tellHistory() {
  $("save").disabled = !painting.started;
  $("undo").disabled = !painting.done.length;
  $("redo").disabled = !painting.undone.length;
}

// The whole number from 0 that is nearest to what the field says.
function seed() {
  const value = Math.trunc(Number($("seed").value)) || 0;
  return Math.min(Math.max(value, 0), Number.MAX_SAFE_INTEGER);
}

// Tools --------------------------------------------------------------------------------------

function choose(name) {
  tool = name;
  under = from = null;
  for (const button of document.querySelectorAll("[data-tool]")) {
    button.setAttribute("aria-pressed", String(button.dataset.tool === name));
  }
}

// The first of some colours that shows on the paper.
function visibleColour(codes) {
  return codes.find(code => code !== about.paper) ?? codes[0];
}

function paint(code) {
  colour = code;
  if (tool === "eraser" || tool === "pick") choose("brush");
  palette.choose(code);
  $("current").textContent = palette.name(code) || code;
  $("current").style.setProperty("--colour", code);
}

// Take the palette's colour of a pixel for the brush.
function pick(at) {
  const [near] = about.colours
    .map(([code]) => [code, painting.distance(at, code)])
    .sort((a, b) => a[1] - b[1]);
  paint(near[0]);
}

function place(event) {
  const box = painting.canvas.getBoundingClientRect();
  const at = (value, start, length, count) =>
    Math.min(Math.max(Math.floor(((value - start) / length) * count), 0), count - 1);
  return {
    x: at(event.clientX, box.left, box.width, painting.width),
    y: at(event.clientY, box.top, box.height, painting.height),
  };
}

function begin(at) {
  if (holes && !painting.image) return;
  if (tool === "pick") {
    pick(at);
    return;
  }
  painting.remember();
  from = at;
  if (tool === "fill") {
    painting.fill(at, colour);
    from = null;
  } else if (tool === "rectangle") {
    under = painting.pixels();
    painting.rectangle(at, at, colour);
  } else {
    painting.line(at, at, Number($("size").value), ink());
  }
  changed();
}

function go(at) {
  if (!from) return;
  if (under) {
    painting.restore(under);
    painting.rectangle(from, at, colour);
  } else {
    painting.line(from, at, Number($("size").value), ink());
    from = at;
  }
  changed();
}

// Say the class under the pointer.
function tell(at) {
  const name = palette.name(painting.code(at));
  $("under").textContent = name;
  $("under").hidden = !name;
}

function end() {
  from = under = null;
}

function ink() {
  return tool === "eraser" ? painting.paper : colour;
}

function step(direction) {
  end();
  if (direction === "undo") painting.undo();
  else painting.redo();
  changed();
}

function clear() {
  painting.remember();
  painting.clear();
  changed();
}

// Images -----------------------------------------------------------------------------------

// Show an image that is asked for; resolves to whether it is shown, to null if another was asked
// for meanwhile.
async function take(address, body) {
  rest();
  const turn = ++asked;
  try {
    const answer = await ask(address, body);
    const image = await createImageBitmap(await answer.blob());
    if (turn !== asked) return null;
    const first = !painting.started;
    if (!first) painting.remember();
    painting.started = true;
    painting.show(image);
    palette.show(painting.counts());
    if (palette.many && first) paint(visibleColour(palette.visible().map(b => b.dataset.colour)));
    $("drop").hidden = true;
    settled();
    changed();
    return true;
  } catch (error) {
    if (turn !== asked) return null;
    complain(error);
    return false;
  }
}

async function open(file) {
  if (!file || !await take("open", file)) return;
  // Files that only the server can read are of unknown size here.
  const image = await createImageBitmap(file, { imageOrientation: "from-image" }).catch(() => null);
  if (image) tellFit([image.width, image.height], [painting.width, painting.height]);
}

// Say that an image of another ratio than the network's input is not shown as it is.
function tellFit(from, to) {
  if (Math.abs((from[0] * to[1]) / (from[1] * to[0]) - 1) < 0.02) return;
  const [before, after] = [from, to].map(size => size.join("×"));
  const wide = from[0] === 2 * from[1]; // as the two halves of a pair are
  const pair = wide ? " If it is a pair, input and target, open the input alone." : "";
  const how = ["crop", "scale_width_and_crop"].includes(about.preprocess) ? "cut" : "stretched";
  note(`This image of ${before} pixels is ${how} to ${after}.${pair}`);
}

async function example(number) {
  const wanted = Math.trunc(number) || 1;
  const chosen = Math.min(Math.max(wanted, 1), about.examples);
  $("example").value = chosen;
  const taken = await take(`example/${chosen - 1}`);
  if (taken) shown = chosen;
  if (taken === false) $("example").value = shown;
  if (taken && wanted !== chosen) note(`The examples are 1 to ${about.examples}.`);
}

function save(address, name) {
  const anchor = document.createElement("a");
  anchor.href = address;
  anchor.download = name;
  anchor.click();
}

function saveBlob(blob, name) {
  const address = URL.createObjectURL(blob);
  save(address, name);
  setTimeout(() => URL.revokeObjectURL(address), 60000); // once it has been read
}

async function saveInput() {
  saveBlob(await (holes ? painting.unmarked() : painting.file()), `${about.name}_input.png`);
}

function saveOutput() {
  if (link) save(link, `${about.name}_output.png`);
}

// Camera -----------------------------------------------------------------------------------

const camera = new Camera(about.size, frame => painting.show(frame), () => latest.send());

const LABELS = { camera: ["Camera", "Stop camera"], record: ["Record", "Stop recording"] };

// Let a button say what it does now.
function label(id, on) {
  $(id).classList.toggle("on", on);
  $(id).textContent = LABELS[id][Number(on)];
}

async function look() {
  if (camera.starting) return;
  if (camera.on) {
    rest();
    return;
  }
  try {
    await camera.start();
  } catch (error) {
    complain(error);
    return;
  }
  if (painting.started) painting.remember();
  painting.started = true;
  tellHistory();
  camera.run();
  label("camera", true);
  $("drop").hidden = true;
  $("record").hidden = !("MediaRecorder" in window);
  settled();
}

// Stop the camera, and save what is recorded.
function rest() {
  if (!camera.on) return;
  camera.stop();
  label("camera", false);
  if (recorder) record();
  $("record").hidden = true;
}

async function record() {
  label("record", !recorder);
  $("length").hidden = Boolean(recorder);
  clearInterval(clock);
  if (!recorder) {
    recorder = new Recorder();
    count(performance.now());
    return;
  }
  const last = recorder;
  recorder = null;
  const film = await last.finish();
  if (film) saveBlob(film, `${about.name}.${film.type.includes("mp4") ? "mp4" : "webm"}`);
}

// Show how long the recording is, from now on every second.
function count(since) {
  const tick = () => {
    const seconds = Math.round((performance.now() - since) / 1000);
    $("length").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  };
  tick();
  clock = setInterval(tick, 1000);
}

// Set up the page for this run ---------------------------------------------------------------

function furnish() {
  document.title = about.title ?? `${about.name}: draw and translate`; // a site has a title
  $("title").textContent = about.title ?? about.name;
  $("hint").textContent = [HINTS[about.classes ? "classes" : about.kind], about.note].join(" ");
  document.body.classList.add(about.kind);
  const draws = about.kind !== "photo";
  for (const id of ["drawing", "brushes", "keys", "clear"]) $(id).hidden = !draws;
  document.querySelector("[data-tool=pick]").hidden = about.kind !== "labels";
  document.querySelector("[data-tool=fill]").hidden = holes;
  $("canvas").setAttribute("aria-label", draws ? "Drawing" : "Input image");
  if (!draws) $("canvas").removeAttribute("tabindex");
  $("noise").hidden = !about.noise;
  $("camera").hidden = about.kind !== "photo" || !hasCamera();
  $("examples").hidden = !about.examples;
  $("example").max = about.examples;
  $("count").textContent = `of ${about.examples}`;
  if (about.kind === "lines") $("brushes").hidden = true;
  if (about.classes) {
    $("palette").setAttribute("aria-label", "Class");
    $("noise").firstElementChild.firstChild.data = "Style ";
    $("noise").firstElementChild.title = "Random seed of the style";
  }
  [painting.canvas.width, painting.canvas.height] = about.size;
  painting.clear();
  $("size").value = about.kind === "lines" ? 2 : Math.max(4, Math.round(about.size[0] / 24));
  choose("brush");
  paint(colour);
}

// Events -------------------------------------------------------------------------------------

const KEYS = {
  b: () => choose("brush"), p: () => { if (about.kind === "labels") choose("pick"); }, r: () => choose("rectangle"), f: () => { if (!holes) choose("fill"); },
  e: () => choose("eraser"), d: saveOutput,
  "[": () => { $("size").value = Number($("size").value) - 1; },
  "]": () => { $("size").value = Number($("size").value) + 1; },
};
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function moveCursor([dx, dy], far) {
  const pixels = far ? 10 : 1;
  cursor ??= { x: painting.width >> 1, y: painting.height >> 1 };
  cursor.x = Math.min(Math.max(cursor.x + dx * pixels, 0), painting.width - 1);
  cursor.y = Math.min(Math.max(cursor.y + dy * pixels, 0), painting.height - 1);
  $("cursor").style.left = `${(100 * (cursor.x + 0.5)) / painting.width}%`;
  $("cursor").style.top = `${(100 * (cursor.y + 0.5)) / painting.height}%`;
  $("cursor").hidden = false;
  if (under) go({ ...cursor });
}

function applyTool() {
  moveCursor([0, 0], false); // into the canvas, which may have become smaller
  if (tool === "pick") {
    pick(cursor);
    return;
  }
  if (under) {
    end(); // second corner of a rectangle
  } else {
    begin({ ...cursor });
    if (!under) end();
  }
}

function listen() {
  const canvas = $("canvas");
  if (about.kind !== "photo") {
    canvas.addEventListener("pointerdown", event => {
      if (event.button) return;
      canvas.setPointerCapture(event.pointerId);
      $("cursor").hidden = true;
      begin(place(event));
    });
    canvas.addEventListener("pointermove", event => {
      if (!canvas.hasPointerCapture(event.pointerId)) return;
      for (const one of event.getCoalescedEvents?.() ?? []) go(place(one));
      go(place(event));
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, end);
    canvas.addEventListener("keydown", event => {
      if (ARROWS[event.key]) moveCursor(ARROWS[event.key], event.shiftKey);
      else if (event.key === " " || event.key === "Enter") applyTool();
      else return;
      event.preventDefault();
    });
    canvas.addEventListener("blur", () => { $("cursor").hidden = true; });
    if (about.classes) {
      canvas.addEventListener("pointermove", event => tell(place(event)));
      canvas.addEventListener("pointerleave", () => { $("under").hidden = true; });
    }
    for (const button of document.querySelectorAll("[data-tool]")) {
      button.addEventListener("click", () => choose(button.dataset.tool));
    }
    $("clear").addEventListener("click", clear);
  }
  document.addEventListener("keydown", event => {
    const typing = event.target.matches("input:not([type=range])");
    const control = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    if (control && !typing && (key === "z" || key === "y")) {
      step(key === "y" || event.shiftKey ? "redo" : "undo");
      event.preventDefault();
    } else if (!control && !event.altKey && !typing && (about.kind !== "photo" || key === "d")) {
      KEYS[key]?.();
    }
  });
  $("undo").addEventListener("click", () => step("undo"));
  $("redo").addEventListener("click", () => step("redo"));
  $("seed").addEventListener("input", changed);
  $("seed").addEventListener("change", () => { $("seed").value = seed(); });
  $("other").addEventListener("click", () => {
    $("seed").value = Math.min(seed() + 1, Number.MAX_SAFE_INTEGER);
    changed();
  });
  $("example").addEventListener("change", () => example($("example").value));
  $("previous").addEventListener("click", () => example(Number($("example").value) - 1));
  $("next").addEventListener("click", () => example(Number($("example").value) + 1));
  for (const id of ["choose", "drop"]) $(id).addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    open($("file").files[0]);
    $("file").value = "";
  });
  $("camera").addEventListener("click", look);
  $("record").addEventListener("click", record);
  $("save").addEventListener("click", saveInput);
  $("download").addEventListener("click", saveOutput);
  document.addEventListener("paste", event => open(event.clipboardData?.files[0]));
  document.addEventListener("dragover", event => {
    event.preventDefault();
    $("input").classList.add("over");
  });
  document.addEventListener("dragleave", () => $("input").classList.remove("over"));
  document.addEventListener("drop", event => {
    event.preventDefault();
    $("input").classList.remove("over");
    open(event.dataTransfer.files[0]);
  });
}

furnish();
listen();
if (about.examples) {
  await example(1);
} else if (about.kind === "photo" || holes) {
  $("drop").hidden = false;
  tellHistory();
} else {
  painting.started = true;
  changed();
}
