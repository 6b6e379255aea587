// One translation at a time; newer input replaces waiting input.

const PAUSE = 120; // ms without a change before the input is sent
const LONGEST = 350; // ms of continuous drawing after which the input is sent anyway

export class Latest {
  // `make` sends the current input and resolves when its translation is shown.
  constructor(make) {
    this.make = make;
    this.timer = null;
    this.since = 0;
    this.busy = false;
    this.again = false;
  }

  // Whether newer input than the one in translation is waiting.
  get waits() { return this.again || this.timer !== null; }

  changed() {
    const now = performance.now();
    if (this.timer === null) this.since = now;
    clearTimeout(this.timer);
    const wait = Math.max(0, Math.min(PAUSE, this.since + LONGEST - now));
    this.timer = setTimeout(() => this.send(), wait);
  }

  async send() {
    this.timer = null;
    if (this.busy) {
      this.again = true;
      return;
    }
    this.busy = true;
    do {
      this.again = false;
      await this.make();
    } while (this.again);
    this.busy = false;
  }
}
