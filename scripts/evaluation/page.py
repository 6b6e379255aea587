"""The HTML page of an evaluation: a table of metrics, and sortable images with error maps."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from dominate.tags import (
    button,
    div,
    figcaption,
    figure,
    h1,
    h2,
    img,
    label,
    main,
    option,
    p,
    script,
    section,
    select,
    table,
    tbody,
    td,
    th,
    thead,
    tr,
)
from dominate.util import raw

from scripts.evaluation.compare import Result, better, heat_maps, names_of
from util.html import blank_page
from util.metrics import Interval
from util.names import escaped, url_of, utf8

_CSS = """
table { border-collapse: collapse; margin: 12px 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 4px 18px 4px 0; border-bottom: 1px solid #8884; }
td.best { font-weight: 600; }
td small { opacity: 0.65; }
.wide { overflow-x: auto; }
.bar { display: flex; flex-wrap: wrap; gap: 10px; align-items: center; margin: 14px 0;
  position: sticky; top: 0; padding: 8px 0; background: Canvas; z-index: 1; }
select, button { font: inherit; padding: 5px 10px; }
button[aria-pressed="true"] { font-weight: 600; }
main { grid-template-columns: 1fr; }
"""

_SORT = """
const rows = [...document.querySelectorAll("section")];
const place = document.querySelector("main");
const choice = document.querySelector("select");
const buttons = [...document.querySelectorAll("button")];
let order = "worst";
function sort() {
  const [run, metric] = choice.value.split(" ");
  const sign = (order === "worst") === LOWER[metric] ? -1 : 1;
  const value = row => JSON.parse(row.dataset.values)[run][metric];
  if (order === "name") rows.sort((a, b) => a.dataset.at - b.dataset.at);
  else rows.sort((a, b) => sign * (value(a) - value(b)));
  place.append(...rows);
  for (const b of buttons) b.setAttribute("aria-pressed", b.value === order);
}
choice.addEventListener("change", sort);
for (const b of buttons) b.addEventListener("click", () => { order = b.value; sort(); });
sort();
"""


def write_page(
    results: Sequence[Result],
    notes: Sequence[str],
    out: Path,
    threads: int,
    *,
    title: str = "",
    summary: Sequence[Sequence[str]] = (),
) -> None:
    """Write OUT/index.html, and the error maps below OUT/heat.

    `summary` is the table of a sweep, with its heading as the first row.
    """
    folders = [out / "heat" / str(i) for i in range(len(results))]
    maps = [heat_maps(r.images, f, threads) for r, f in zip(results, folders, strict=True)]
    title = title or "Evaluation of " + ", ".join(result.images.name for result in results)
    page = blank_page(title, _CSS)
    with page.body:
        h1(title)
        if summary:
            heading, *rows = summary
            body = tbody(*(tr(th(row[0]), *(td(text) for text in row[1:])) for row in rows))
            h2("All seeds")
            div(table(thead(tr(*(th(text) for text in heading))), body), cls="wide")
            h2("The first seed, image by image")
        div(_numbers(results), cls="wide")
        for note in notes:
            p(note)
        p("Errors: the absolute difference, from black (0) to pale yellow (half the range).")
        _controls(results)
        main(*(_row(i, name, results, maps, out) for i, name in enumerate(_names(results))))
        lower = {name: better(name) == "lower" for r in results for name in r.each}
        script(raw(f"const LOWER = {json.dumps(lower)};{_SORT}"))
    (out / "index.html").write_bytes(utf8(page.render(pretty=False)))


def _names(results: Sequence[Result]) -> list[str]:
    """Return the names of the images that all results have."""
    return [n for n in results[0].images.names if all(n in r.images.fake for r in results)]


def _numbers(results: Sequence[Result]) -> table:
    intervals = [result.intervals() for result in results]
    body = tbody()
    for metric in names_of(result.each for result in results):
        lower = better(metric) == "lower"
        means = [found[metric].mean for found in intervals if metric in found]
        best = min(means) if lower else max(means)
        row = tr(th(f"{metric} ({'lower' if lower else 'higher'} is better)"))
        for result, found in zip(results, intervals, strict=True):
            cell = td()
            if metric in found:
                mean = found[metric].mean
                cell.add(f"{mean:.4f} ", raw(f"<small>{_ends(found[metric])}</small>"))
                if mean == best and len(results) > 1:
                    cell["class"] = "best"
                if against := results[0].difference(result, metric):
                    cell.add(raw(f"<br><small>{against.mean:+.4f} {_ends(against)}</small>"))
            row.add(cell)
        body.add(row)
    for metric in names_of(result.together for result in results):
        row = tr(th(f"{metric} ({better(metric)} is better)"))
        for result in results:
            value, *others = result.together[metric].items()
            more = ", ".join(f"{of} {other:.4f}" for of, other in others)
            row.add(td(f"{value[1]:.4f} ", raw(f"<small>{more}</small>")))
        body.add(row)
    return table(thead(tr(th(), *(th(r.images.name) for r in results))), body)


def _ends(interval: Interval) -> str:
    return f"[{interval.low:.4f}, {interval.high:.4f}]"


def _controls(results: Sequence[Result]) -> div:
    choices = select()
    for i, result in enumerate(results):
        for metric in result.each:
            text = f"{metric} of {result.images.name}" if len(results) > 1 else metric
            choices.add(option(text, value=f"{i} {metric}"))
    bar = div(label("Sort by ", choices), cls="bar")
    for order, text in (("worst", "Worst first"), ("best", "Best first"), ("name", "By name")):
        bar.add(button(text, value=order, type="button", aria_pressed="false"))
    return bar


def _row(
    at: int, name: str, results: Sequence[Result], maps: Sequence[dict[str, Path]], out: Path
) -> section:
    several = len(results) > 1
    row = div(cls="row", style="--w: 256px")
    if name in results[0].images.source:
        row.add(_figure(results[0].images.source[name], "input", out))
    row.add(_figure(results[0].images.real[name], "target", out))
    for result, heat in zip(results, maps, strict=True):
        of = f" of {result.images.name}" if several else ""
        values = ", ".join(f"{metric} {each[name]:.4f}" for metric, each in result.each.items())
        row.add(_figure(result.images.fake[name], f"output{of}: {values}", out))
        row.add(_figure(heat[name], f"error{of}", out))
    found = section(h2(escaped(name)), row)
    values = [{metric: each[name] for metric, each in r.each.items()} for r in results]
    found["data-values"], found["data-at"] = json.dumps(values), str(at)
    return found


def _figure(path: Path, text: str, out: Path) -> figure:
    source = url_of(Path(os.path.relpath(path, out)).as_posix())
    return figure(img(src=source, alt=text, loading="lazy"), figcaption(text))
