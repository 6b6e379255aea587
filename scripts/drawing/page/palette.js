// The brush colours as radio buttons; with many classes also a search field.

const MANY = 24; // buttons without a search field
const STEPS = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };

export class Palette {
  // `colours` are [code, name]; `chosen` is called with the code of a button that was pressed.
  constructor(box, find, colours, chosen) {
    Object.assign(this, { box, find, colours, chosen });
    this.many = colours.length > MANY;
    this.buttons = new Map(colours.map(([code, name]) => [code, this.button(code, name)]));
    box.append(...this.buttons.values());
    box.classList.toggle("many", this.many);
    find.parentElement.hidden = !this.many;
    find.addEventListener("input", () => this.filter());
    find.addEventListener("keydown", event => {
      const [first] = this.visible();
      if (event.key === "Enter" && first) chosen(first.dataset.colour);
    });
    box.addEventListener("keydown", event => {
      if (!STEPS[event.key]) return;
      const visible = this.visible();
      const at = visible.indexOf(this.buttons.get(this.code));
      const next = visible[(at + STEPS[event.key] + visible.length) % visible.length];
      chosen(next.dataset.colour);
      next.focus();
      event.preventDefault();
    });
  }

  button(code, name) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("role", "radio");
    button.dataset.colour = code;
    button.style.setProperty("--colour", code);
    button.textContent = name;
    button.title = name || code;
    button.setAttribute("aria-label", name || code);
    button.classList.toggle("named", Boolean(name));
    button.addEventListener("click", () => this.chosen(code));
    return button;
  }

  visible() { return [...this.box.children].filter(button => !button.hidden); }

  // The name of a colour, "" for none.
  name(code) { return this.buttons.get(code)?.textContent ?? ""; }

  choose(code) {
    this.code = code;
    for (const [other, button] of this.buttons) {
      button.setAttribute("aria-checked", String(other === code));
      button.tabIndex = other === code ? 0 : -1;
    }
    if (this.many) this.buttons.get(code)?.scrollIntoView({ block: "nearest" });
  }

  filter() {
    const words = this.find.value.trim().toLowerCase();
    for (const button of this.buttons.values()) {
      button.hidden = !button.title.toLowerCase().includes(words);
    }
  }

  // Put the classes of a drawing first, the most frequent before the others.
  show(counts) {
    if (!this.many) return;
    const places = new Map(this.colours.map(([code], place) => [code, place]));
    const order = [...this.buttons.keys()].sort(
      (a, b) => (counts.get(b) ?? 0) - (counts.get(a) ?? 0) || places.get(a) - places.get(b),
    );
    this.box.append(...order.map(code => this.buttons.get(code)));
    this.box.scrollTop = 0;
  }
}
