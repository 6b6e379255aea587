// A closer look: a click on an image opens it over the whole window, with its neighbours, zoom,
// and a divider between it and another image of its row.
{
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-label", "a closer look");
  dialog.innerHTML = `
    <div class="tools">
      <button name="before" aria-label="previous row" title="previous row (left arrow)">◀</button>
      <button name="after" aria-label="next row" title="next row (right arrow)">▶</button>
      <b class="title"></b>
      <button name="close" aria-label="close" title="close (Esc)">✕</button>
      <span class="images" role="group" aria-label="image of the row"></span>
      <label>compare with <select name="other" title="a divider between both (c)"></select></label>
      <button name="out" aria-label="zoom out" title="zoom out (-)">−</button>
      <output aria-label="zoom"></output>
      <button name="in" aria-label="zoom in" title="zoom in (+)">+</button>
      <button name="fit" title="fit the window (0)">fit</button>
      <a target="_blank">file</a>
    </div>
    <input class="divider" type="range" min="0" max="100" step="0.5" aria-label="divider">
    <div class="stage" tabindex="0"><div class="frame"></div></div>`;
  document.body.append(dialog);
  const find = name => dialog.querySelector(name);
  const [frame, stage] = [".frame", ".stage"].map(find);
  const [under, over] = ["under", "over"].map(name => {
    const image = frame.appendChild(document.createElement("img"));
    image.className = name;
    return image;
  });
  const [divider, other, images] = [".divider", "select", ".images"].map(find);
  let row = null, at = 0, zoom = 0;  // the shown row, the number of its image; zoom 0 fits the window

  const shownRows = () => [...document.querySelectorAll("section:not(.hidden) > .row:not([hidden])")];
  const figuresOfRow = () => [...row.querySelectorAll("figure")];
  const captionOf = figure => figure.querySelector("figcaption").textContent;
  const imageOf = figure => figure.querySelector("img");
  const KINDS = { truth: "target", result: "output" };  // of filled images
  const kindOf = figure => {
    const word = figure.dataset.what.split(" ")[0];
    return KINDS[word] ?? word;
  };

  function show(newRow, newAt) {
    row = newRow;
    const all = figuresOfRow();
    at = Math.min(Math.max(newAt, 0), all.length - 1);
    const among = shownRows(), name = row.closest("section")?.querySelector("h2")?.textContent ?? "";
    const number = among.indexOf(row) + 1, ends = { before: number === 1, after: number === among.length };
    find(".title").textContent = `${row.dataset.name ?? name} (${number} of ${among.length})`;
    for (const [side, end] of Object.entries(ends)) {  // not disabled, which would take the focus
      find(`[name=${side}]`).setAttribute("aria-disabled", end);
    }
    const focused = images.contains(document.activeElement);
    images.replaceChildren(...all.map((figure, i) => {
      const button = document.createElement("button");
      button.textContent = figure.dataset.what;
      button.title = `${captionOf(figure)} (${i + 1})`;
      button.setAttribute("aria-pressed", i === at);
      button.addEventListener("click", () => show(row, i));
      return button;
    }));
    images.children[at].scrollIntoView({ block: "nearest", inline: "nearest" });
    if (focused) images.children[at].focus();  // so that keys still work
    const before = other.value;
    other.replaceChildren(new Option("no image", ""), ...all.map((figure, i) => new Option(
      figure.dataset.what, i)).filter((_, i) => i !== at));
    other.value = [...other.options].some(one => one.value === before) ? before : "";
    draw();
  }

  function draw() {
    const all = figuresOfRow(), two = other.value !== "", shown = imageOf(all[at]);
    under.src = shown.src;
    under.alt = shown.alt;
    if (two) over.src = imageOf(all[other.value]).src;
    over.alt = two ? imageOf(all[other.value]).alt : "";
    over.hidden = divider.hidden = !two;
    frame.classList.toggle("two", two);
    find("a").href = shown.src;
    resize();
  }

  function resize() {
    const [width, height] = [under.naturalWidth, under.naturalHeight];
    if (!width) return;  // not loaded yet
    const fitting = Math.min(stage.clientWidth / width, stage.clientHeight / height);
    const scale = zoom || fitting;
    frame.style.width = `${width * scale}px`;
    frame.style.height = `${height * scale}px`;
    frame.classList.toggle("large", scale > 1);
    find("output").textContent = `${Math.round(scale * 100)}%`;
  }

  function zoomBy(factor) {
    const now = frame.clientWidth / under.naturalWidth;
    zoom = Math.min(Math.max(now * factor, 1 / 16), 64);
    const middle = [stage.scrollLeft + stage.clientWidth / 2, stage.scrollTop + stage.clientHeight / 2];
    resize();
    stage.scrollTo(middle[0] * zoom / now - stage.clientWidth / 2,
      middle[1] * zoom / now - stage.clientHeight / 2);
  }

  function goToRow(by) {
    const among = shownRows();
    const next = among[among.indexOf(row) + by];
    if (next) show(next, at);
  }

  function compare() {  // an image with the target, the target with the output, or no longer
    const wanted = kindOf(figuresOfRow()[at]) === "target" ? "output" : "target";
    const found = figuresOfRow().findIndex((figure, i) => i !== at && kindOf(figure) === wanted);
    const any = [...other.options].find(one => one.value !== "");
    other.value = other.value !== "" ? "" : found >= 0 ? found : any?.value ?? "";
    draw();
  }

  function divide(percent) {
    divider.value = percent;
    frame.style.setProperty("--at", `${percent}%`);
  }

  const actions = {
    before: () => goToRow(-1), after: () => goToRow(1), in: () => zoomBy(2), out: () => zoomBy(0.5),
    fit: () => { zoom = 0; resize(); }, close: () => dialog.close(),
  };
  const keys = {
    ArrowLeft: actions.before, ArrowRight: actions.after, "+": actions.in, "=": actions.in,
    "-": actions.out, "0": actions.fit, c: compare,
    ArrowUp: () => show(row, at - 1), ArrowDown: () => show(row, at + 1),
  };
  dialog.addEventListener("click", event => actions[event.target.closest("button")?.name]?.());
  dialog.addEventListener("keydown", event => {
    const inside = event.target === divider || event.target === other;
    if (event.ctrlKey || event.metaKey || event.altKey || (inside && event.key.startsWith("Arrow"))) return;
    const action = keys[event.key] ?? (event.key > "0" && event.key <= "9" && (() => show(row, event.key - 1)));
    if (!action) return;
    event.preventDefault();
    action();
  });
  other.addEventListener("change", draw);
  divider.addEventListener("input", () => divide(divider.value));
  const drag = event => {
    if (!frame.classList.contains("two") || !(event.buttons & 1)) return;
    const box = frame.getBoundingClientRect();
    divide(Math.min(Math.max((event.clientX - box.left) / box.width * 100, 0), 100));
    event.preventDefault();
  };
  frame.addEventListener("pointerdown", drag);
  frame.addEventListener("pointermove", drag);
  stage.addEventListener("wheel", event => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoomBy(event.deltaY < 0 ? 1.25 : 0.8);
  }, { passive: false });
  under.addEventListener("load", resize);
  addEventListener("resize", () => dialog.open && resize());
  document.addEventListener("click", event => {
    const link = event.target.closest?.(".row a");
    if (!link || link.href !== link.firstElementChild.src || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    if (!dialog.open) dialog.showModal();
    const shown = link.closest("figure");
    show(link.closest(".row"), [...link.closest(".row").querySelectorAll("figure")].indexOf(shown));
    divide(50);
    stage.focus();
  });
}
