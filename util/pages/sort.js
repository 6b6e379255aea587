// Sorts the rows by a score. A row's data-values are its scores, one object a run; the page's
// data-lower names the metrics of which lower values are better.
{
  const place = document.querySelector("main"), rows = [...place.children];
  const lower = JSON.parse(place.dataset.lower);
  const choice = document.querySelector(".bar select");
  const buttons = [...document.querySelectorAll(".bar button")];
  let order = "worst";

  function sort() {
    const [run, metric] = choice.value.split(" ");
    const sign = (order === "worst") === lower[metric] ? -1 : 1;
    // A row that has no score comes last.
    const value = row => JSON.parse(row.dataset.values)[run][metric] ?? sign * Infinity;
    if (order === "name") rows.sort((a, b) => a.dataset.at - b.dataset.at);
    else rows.sort((a, b) => sign * (value(a) - value(b)));
    place.append(...rows);
    for (const one of buttons) one.setAttribute("aria-pressed", one.value === order);
  }

  choice.addEventListener("change", sort);
  for (const one of buttons) one.addEventListener("click", () => { order = one.value; sort(); });
  sort();
}
