// Translates what a camera sees: always its latest frame, as fast as the network is. Its output can
// be recorded.

const FORMATS = ["video/webm;codecs=vp9", "video/webm", "video/mp4"];
const REASONS = {
  NotAllowedError: "The browser was not allowed to use the camera.",
  NotFoundError: "There is no camera.",
  NotReadableError: "The camera is in use by another program.",
};

export const hasCamera = () => Boolean(navigator.mediaDevices?.getUserMedia);

export class Camera {
  // `show` puts a frame, a canvas, on the page; `translate` resolves once the output is shown.
  constructor([width, height], show, translate) {
    this.frame = Object.assign(document.createElement("canvas"), { width, height });
    this.show = show;
    this.translate = translate;
    this.video = document.createElement("video");
    this.video.muted = this.video.playsInline = true;
    this.stream = null;
    this.rate = 0; // frames a second
    this.starting = false; // whether the browser asks for the permission
  }

  get on() { return this.stream !== null; }

  // Ask for the camera; an Error says why there is none. Then `run` begins.
  async start() {
    this.starting = true;
    try {
      const video = { facingMode: "environment" };
      this.stream = await navigator.mediaDevices.getUserMedia({ video, audio: false });
    } catch (error) {
      throw new Error(REASONS[error.name] ?? `The camera does not start: ${error.message}`);
    } finally {
      this.starting = false;
    }
    this.video.srcObject = this.stream;
    await this.video.play();
  }

  stop() {
    this.stream?.getTracks().forEach(track => track.stop());
    this.stream = this.video.srcObject = null;
  }

  // Translate one frame after the other, until `stop`.
  async run() {
    let since = performance.now();
    while (this.on) {
      this.take();
      this.show(this.frame);
      await this.translate();
      await new Promise(requestAnimationFrame); // the page may draw, and listen to buttons
      const now = performance.now();
      const rate = 1000 / (now - since);
      this.rate = this.rate ? 0.8 * this.rate + 0.2 * rate : rate;
      since = now;
    }
  }

  // Draw the middle of the present frame, as large as the network's input.
  take() {
    const { width, height } = this.frame;
    const { videoWidth, videoHeight } = this.video;
    const scale = Math.max(width / videoWidth, height / videoHeight);
    const size = [videoWidth * scale, videoHeight * scale];
    const context = this.frame.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(this.video, (width - size[0]) / 2, (height - size[1]) / 2, ...size);
  }
}

// Records images of one size, one after the other, as a film.
export class Recorder {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d");
    this.pieces = [];
    this.recorder = null; // until the first image tells the size
  }

  add(image) {
    if (!this.recorder) this.start(image.naturalWidth, image.naturalHeight);
    this.context.drawImage(image, 0, 0);
    this.source.requestFrame();
  }

  start(width, height) {
    [this.canvas.width, this.canvas.height] = [width, height];
    const stream = this.canvas.captureStream(0); // of the images that `add` hands over
    const [track] = stream.getVideoTracks();
    this.source = track.requestFrame ? track : stream; // Firefox has it on the stream
    const mimeType = FORMATS.find(format => MediaRecorder.isTypeSupported(format));
    this.recorder = new MediaRecorder(stream, { mimeType });
    this.recorder.ondataavailable = ({ data }) => this.pieces.push(data);
    this.recorder.start();
  }

  // Resolves to the film, a blob; to null if there was no image.
  finish() {
    if (!this.recorder) return null;
    return new Promise(resolve => {
      this.recorder.onstop = () => resolve(new Blob(this.pieces, { type: this.recorder.mimeType }));
      this.recorder.stop();
    });
  }
}
