// The page of a training: the slider chooses the epoch whose images are shown, and lines in the
// curves mark it. The page loads itself again while the training goes on.
{
  const run = JSON.parse(document.querySelector("#run").textContent);
  const slider = document.querySelector(".epochs input"), last = run.epochs.length - 1;
  const rows = [...document.querySelectorAll("main .row")];
  const curves = document.querySelector(".curves"), play = document.querySelector("button[value=play]");
  let timer = 0;

  const file = (epoch, label, number) => "images/" + encodeURIComponent(
    `epoch${String(epoch).padStart(3, "0")}_${label}${number ? `_${number + 1}` : ""}.png`)
    + (epoch === run.epochs[last][0] ? `?${run.version}` : "");  // a later one is not written again

  function show(at) {
    const [epoch, count] = run.epochs[at];
    const names = run.names.filter(([first]) => first <= epoch).at(-1)?.[1] ?? [];
    rows.forEach((row, number) => {
      const name = row.previousElementSibling;
      row.hidden = name.hidden = number >= count;
      row.dataset.name = name.textContent = names[number] ?? "";
      for (const figure of row.querySelectorAll("figure")) {
        const source = file(epoch, figure.dataset.label, number);
        figure.querySelector("img").src = figure.querySelector("a").href = source;
      }
    });
    slider.value = at;
    const what = [epoch === run.best && "best", run.resumed.includes(epoch) && "resumed after it"];
    const text = `epoch ${epoch}` + what.filter(Boolean).map(one => `, ${one}`).join("");
    document.querySelector(".bar output").textContent = text;
    slider.setAttribute("aria-valuetext", text);
    mark(epoch);
    const kept = at === last ? "#" : `#epoch=${epoch}`;  // survives the reload
    if (location.hash !== kept && (location.hash || kept !== "#")) location.replace(kept);
  }

  function mark(epoch) {  // in the plot that the window shows
    const plot = curves?.querySelector("img").currentSrc.split("/").at(-1).split("?")[0];
    curves?.querySelectorAll("i").forEach(line => line.remove());
    for (const [left, top, width, height, first, end] of run.panels[plot] ?? []) {
      const part = (epoch - first) / (end - first);
      if (part < 0 || part > 1) continue;
      const line = curves.appendChild(document.createElement("i"));
      line.style.cssText = `left: ${100 * (left + part * width)}%; top: ${100 * top}%; height: ${100 * height}%`;
    }
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "▶";
  }

  play.addEventListener("click", () => {
    if (timer) return stop();
    play.textContent = "■";
    if (+slider.value === last) show(0);
    timer = setInterval(() => +slider.value === last ? stop() : show(+slider.value + 1), 500);
  });
  curves?.querySelector("img").addEventListener("load", () => mark(run.epochs[slider.value][0]));
  slider.addEventListener("input", () => { stop(); show(+slider.value); });
  for (const button of document.querySelectorAll("button[data-epoch]")) {
    button.addEventListener("click", () => { stop(); show(+button.dataset.epoch); });
  }
  const wanted = +location.hash.replace("#epoch=", "");
  const found = run.epochs.findIndex(([epoch]) => epoch === wanted);
  show(found < 0 ? last : found);
  if (run.refresh) {
    setInterval(() => {
      if (!timer && !document.querySelector("dialog[open]")) location.reload();
    }, 1000 * run.refresh);
  }
}
