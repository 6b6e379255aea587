"""The HTML page of an evaluation: a table of metrics, and sortable images with error maps."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from dominate.tags import (
    button,
    div,
    figure,
    h1,
    h2,
    label,
    main,
    option,
    p,
    section,
    select,
    small,
    span,
    table,
    tbody,
    td,
    th,
    thead,
    tr,
)

from scripts.evaluation import feature_distances
from scripts.evaluation.compare import (
    MOST_ERROR,
    Result,
    array,
    better,
    heat_maps,
    in_figures,
    names_of,
)
from scripts.evaluation.heat import heat_colours
from scripts.evaluation.measured_values import BRIGHTEST, error_maps
from scripts.evaluation.report import of_other_images, other_images_note
from util.files import atomic_write
from util.names import escaped, natural_key, url_of, utf8
from util.pages.elements import (
    blank_page,
    folded_notes,
    image_figure,
    image_row,
    paragraph,
    scripts,
    settings_line,
)
from util.util import save_image

SHOWN = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".avif"}  # by browsers
WIDTH = 340  # maximum width of an image on the page, in pixels


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
    most = BRIGHTEST * max(result.images.width for result in results)  # one scale for all maps
    maps = [
        error_maps(r.images.values, f, most) if r.images.values else heat_maps(r.images, f, threads)
        for r, f in zip(results, folders, strict=True)
    ]
    title = title or "Evaluation of " + ", ".join(result.images.name for result in results)
    page = blank_page(title)
    with page.body:
        h1(title)
        _settings({r.images.name: r.images.settings for r in results})
        if summary:
            h2("All seeds")
            _summary(summary)
            h2("The first seed, image by image")
        div(_numbers(results), cls="scroll")
        warnings = [other_images_note(results), *feature_distances.warnings(results)]
        for warning in filter(None, warnings):
            paragraph(warning, cls="warning")
        folded_notes([note for note in notes if note not in warnings])
        sortable = any(result.each for result in results)
        if sortable:
            _controls(results)
        _error_scale(results[0], most)
        rows = [_row(i, name, results, maps, out) for i, name in enumerate(_names(results))]
        lower = {name: better(name) == "lower" for r in results for name in r.each}
        main(*rows, cls="rows", data_lower=json.dumps(lower), style=f"--row: {_width(results)}px")
        scripts("look.js", *(["sort.js"] if sortable else []))
    with atomic_write(out / "index.html") as file:
        file.write(utf8(page.render(pretty=False)))


def _settings(flags: dict[str, list[str] | None]) -> None:
    """Add the non-default flags that all runs with known flags share, then those of each alone."""
    known_flags = {name: run_flags for name, run_flags in flags.items() if run_flags is not None}
    if known_flags:
        shared = [
            flag
            for flag in next(iter(known_flags.values()))
            if all(flag in run_flags for run_flags in known_flags.values())
        ]
        if shared or len(known_flags) == 1:
            settings_line(shared)
        for name, run_flags in known_flags.items():
            if own := [flag for flag in run_flags if flag not in shared]:
                settings_line(own, name)


def _summary(lines: Sequence[Sequence[str]]) -> div:
    heading, *rows = lines
    body = tbody(*(tr(th(row[0]), *(td(text) for text in row[1:])) for row in rows))
    return div(table(thead(tr(*(th(text) for text in heading))), body), cls="scroll")


def _width(results: Sequence[Result]) -> int:
    """Return the width of a row in pixels."""
    return (WIDTH + 10) * (4 if len(results) == 1 else len(results) + 2)


def _names(results: Sequence[Result]) -> list[str]:
    """Return the names of the images that all results have, in the order of their numbers."""
    shared = [n for n in results[0].images.fake if all(n in r.images.fake for r in results)]
    return sorted(shared, key=natural_key)


def _numbers(results: Sequence[Result]) -> table:
    intervals = [result.intervals() for result in results]
    comparable = not of_other_images(results)
    body = tbody()
    for metric in names_of(result.each for result in results):
        best = clearly_best(results, metric) if comparable else None
        row = tr(_head(metric))
        for result, by_metric in zip(results, intervals, strict=True):
            cell = td()
            if metric in by_metric:
                mean, ends = in_figures(by_metric[metric])
                cell.add(f"{mean} ", small(ends))
                if result is best:
                    cell["class"] = "best"
                if difference := results[0].difference(result, metric):
                    cell.add(div(small(" ".join(in_figures(difference, sign="+")))))
            row.add(cell)
        body.add(row)
    for metric in names_of(result.together for result in results):
        row, best = tr(_head(metric)), feature_distances.clearly_best(results, metric)
        for result in results:
            value, details = "", []
            if metric in result.distances:
                own, *others = feature_distances.cells(result, metric, results[0])
                value, ends = own.split(" ", 1)
                details = [small(ends), *(div(small(line)) for line in others)]
            elif metric in result.together:
                (_, number), *others = result.together[metric].items()
                value, details = f"{number:.4f}", [small(f"{kind} {v:.4f}") for kind, v in others]
            row.add(td(f"{value} ", *details, cls="best" if result is best else None))
        body.add(row)
    return table(thead(tr(th(), *(th(r.images.name) for r in results))), body)


def clearly_best(results: Sequence[Result], metric: str) -> Result | None:
    """Return the best of several results, if its difference to each other one excludes 0."""
    measured = [result for result in results if result.each.get(metric)]
    sign = 1 if better(metric) == "lower" else -1
    best = min(measured, key=lambda result: sign * result.intervals()[metric].mean)
    others = [best.difference(other, metric) for other in measured if other is not best]
    clear = others and all(d and sign * d.mean > 0 and d.low * d.high > 0 for d in others)
    return best if clear else None


def _head(metric: str) -> th:
    return th(metric, small(f"{better(metric)} is better"))


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


def _error_scale(result: Result, most_of_values: float) -> p:
    """Add the colours of the error maps, with the numbers at both ends; of measurements
    `most_of_values` is the upper one.
    """
    most, text = f"{MOST_ERROR}", "|output − target|, mean of the channels"
    if values := result.images.values:
        most = f"{most_of_values:.4g}"
        text += ", in the values of the files" + "; grey: no data" * values.masked
    else:
        text += "; black and white differ by 1"
    shades = ", ".join("rgb({}, {}, {})".format(*c) for c in heat_colours(np.linspace(0, 1, 9)))
    bar = span(cls="colours", style=f"background-image: linear-gradient(to right, {shades})")
    return p(
        "Errors: ",
        span("0 ", bar, f" {most} or more", cls="ends"),
        text,
        cls="scale",
    )


def _row(
    at: int, name: str, results: Sequence[Result], maps: Sequence[dict[str, Path]], out: Path
) -> section:
    """Return the row of one input: input, outputs, target.

    The error of a single run stands beside them. Several runs have a column each, with the error
    below the output; on a phone a line each.
    """
    title, single = escaped(name), len(results) == 1
    figures, errors = [], []
    if name in results[0].images.source:
        figures.append(_figure(results[0].images.source[name], "input", "", title, out))
    for number, paths in enumerate(results[0].images.more_inputs, 2):
        if name in paths:
            figures.append(_figure(paths[name], f"input {number}", "", title, out))
    scores = [
        {m: by_image[name] for m, by_image in r.each.items() if name in by_image} for r in results
    ]
    for result, heat, values in zip(results, maps, scores, strict=True):
        suffix = "" if single else f" of {result.images.name}"
        # A space at which no line breaks.
        text = ", ".join(f"{metric}\xa0{value:.4g}" for metric, value in values.items())
        figures.append(_figure(result.images.fake[name], f"output{suffix}", text, title, out))
        errors.append(_figure(heat[name], f"error{suffix}", "", title, out))
        if not single:
            figures[-1]["style"] = f"--run: {len(errors)}"
            errors[-1]["style"] = f"--run: {len(errors)}; grid-column: {len(figures)}"
    figures.append(_figure(results[0].images.real[name], "target", "", title, out))
    columns = len(figures) + len(errors) * single
    measured = results[0].images.values
    slices = f", {text}" if measured and (text := measured.shown_slices(name)) else ""
    row = section(h2(title + slices), image_row([*figures, *errors], WIDTH, columns))
    row["data-values"], row["data-at"] = json.dumps(scores), str(at)
    return row


def _figure(path: Path, what: str, label: str, of: str, out: Path) -> figure:
    path = shown_file(path, out)
    source = url_of(Path(os.path.relpath(path, out)).as_posix())
    return image_figure(source, what, label=label, of=of, file=path, width=WIDTH)


def shown_file(path: Path, out: Path) -> Path:
    """Return a file that browsers show: an image itself, or a copy of others below OUT/shown."""
    if path.suffix.lower() in SHOWN:
        return path
    name = hashlib.sha256(os.fsencode(os.path.abspath(path))).hexdigest()[:16]
    copy = out / "shown" / f"{name}.png"
    copy.parent.mkdir(exist_ok=True)
    save_image(array(path), copy)
    return copy
