"""Write the drawing page of a run as files that any web host can serve."""

import argparse
import html
import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from data.transforms import Geometry
from options.test_options import TestOptions
from scripts.drawing.server import MOST_TRANSLATED, PAGE
from scripts.drawing.subject import Inputs, Subject, describe_run
from scripts.onnx_export.card import origin, statistics
from scripts.onnx_export.check import Check
from scripts.onnx_export.writing import load, weights_of, write_graph
from scripts.static_site.half_weights import MOST_LEVELS, Moved, moved_by, with_half_weights
from scripts.static_site.parts import write_parts
from scripts.static_site.placing import check_free, earlier_files, new_files
from scripts.static_site.runtime import LICENSE, PACKAGE, PROVIDERS, VERSION
from translator import Translator
from util.files import in_words
from util.palette import shown_colours

if TYPE_CHECKING:
    import onnx

log = logging.getLogger(__name__)

OWN_PAGE = Path(__file__).resolve().parent / "page"
MOST_EXAMPLES = 8
NOISE_IMAGES = 8  # on which half precision is measured, beside the examples
NOTE = (
    "The network runs in your browser: nothing leaves this device, and the same input always gives "
    "the same output."
)
LOADING = (
    "Loading. If this stays, the page was opened as a file: it needs a web server, such as "
    "<code>python -m http.server</code> in its folder."
)
OLD = '<script nomodule src="page/old.js"></script>'
CARD = '<footer><a href="card.md">Model card</a></footer>'
# Nothing from elsewhere is loaded, and nothing is sent.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self' "
    "'unsafe-inline'; img-src 'self' blob: data:; connect-src 'self'"
)


class Site:
    """What is written into the folder of a static site."""

    def __init__(self, folder: Path, translator: Translator, opt: Any, title: str | None = None):
        """`opt` says how the page prepares images for the network of `translator`. `title`
        (default: the run's name) is the heading.
        """
        self.folder, self.translator, self.opt = folder, translator, opt
        self.title = title or opt.name
        subject, examples = describe_run(translator, opt)
        self.examples = list(islice(some(examples), MOST_EXAMPLES))
        self.subject: Subject = subject._replace(noise=False, examples=len(self.examples))

    def write_page(self) -> None:
        """Write the page, with what it needs to know of the run, and the examples."""
        page = self.folder / "page"
        shutil.copytree(PAGE, page)
        (page / "index.html").unlink()
        for file in OWN_PAGE.iterdir():
            shutil.copyfile(file, page / file.name)
        text = (PAGE / "index.html").read_text(encoding="utf-8")
        head = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        text = text.replace("<title>", f"{head}\n<title>", 1)
        text = text.replace("</body>", f"{CARD}\n{OLD}\n</body>", 1)
        text = text.replace("Draw and translate<", f"{html.escape(self.title)}<")
        text = text.replace('<p id="hint"></p>', f'<p id="hint">{LOADING}</p>', 1)
        (self.folder / "index.html").write_text(text, encoding="utf-8")
        (self.folder / ".nojekyll").touch()  # GitHub Pages: serve card.md as it is
        about = {**self.subject._asdict(), "note": NOTE, "graph": self.graph()}
        about |= {"title": self.title, "preprocess": self.opt.preprocess}
        (self.folder / "about.json").write_text(json.dumps(about), encoding="utf-8")
        (self.folder / "examples").mkdir()
        for number, example in enumerate(self.examples):
            pixels = example[..., 0] if example.shape[2] == 1 else example
            Image.fromarray(pixels).save(self.folder / f"examples/{number}.png")

    def graph(self) -> dict[str, Any]:
        """Return what the page does with an image before the network gets it."""
        opt, kind = self.opt, "image"
        if self.subject.kind == "holes":
            kind = "holes"
        elif self.subject.classes:
            kind = "classes"
        geometry = Geometry.from_options(opt)
        names = ("preprocess", "load_size", "crop_size", "aspect_ratio")
        channels = 1 if kind == "classes" else 3 if opt.model == "colorization" else opt.input_nc
        settings = {"kind": kind, "channels": channels, "most": MOST_TRANSLATED}
        settings |= {name: getattr(geometry, name) for name in names}
        if kind == "classes":
            count = opt.label_nc + opt.contain_dontcare_label
            settings["colours"] = shown_colours(opt)[:count].tolist()
            of_numbers = not isinstance(opt.label_colours, list)
            numbers = {"offset": opt.label_offset or 0, "dontcare": opt.contain_dontcare_label}
            settings["numbers"] = numbers if of_numbers else None
        if kind == "holes":
            settings["parts"] = list(self.translator.input.parts)
        return settings

    def write_network(self, model: "onnx.ModelProto", check: Check, runtime: Path) -> str:
        """Write the weights, in half precision if that moves little, and the runtime; return how
        the weights are kept.
        """
        full, half = self.folder / "full.onnx", self.folder / "half.onnx"
        full.write_bytes(model.SerializeToString())
        half.write_bytes(with_half_weights(model).SerializeToString())
        moved = moved_by(full, half, check, list(self.batches(check)))
        chosen_file = half if moved.allowed else full
        weights = write_parts(chosen_file.read_bytes(), self.folder / "network", "weights")
        full.unlink()
        half.unlink()
        files = {"runtime": {}, "weights": weights}
        for provider, (module, helper, program) in PROVIDERS.items():
            parts = write_parts((runtime / program).read_bytes(), self.folder / "runtime", program)
            for name in (module, helper):
                shutil.copyfile(runtime / name, self.folder / "runtime" / name)
            (self.folder / "runtime/LICENSE.txt").write_text(LICENSE, encoding="utf-8")
            files["runtime"][provider] = {"module": module, "program": parts}
        (self.folder / "network/files.json").write_text(json.dumps(files), encoding="utf-8")
        return precision(moved)

    def batches(self, check: Check) -> Iterator[np.ndarray]:
        """Yield batches of the graph: of noise, and the examples."""
        _, height, width = check.sizes()[0]
        yield check.batch(NOISE_IMAGES, height, width)
        graph = self.graph()
        for example in self.examples if graph["kind"] == "image" else ():
            yield np.repeat(example[None], graph["channels"] // example.shape[2], 3)

    def size(self, provider: str) -> int:
        """Return the bytes that a browser loads before the first translation."""
        files = json.loads((self.folder / "network/files.json").read_text(encoding="utf-8"))
        parts = [*files["weights"], *files["runtime"][provider]["program"]]
        return sum(part["size"] for part in parts)


def write_site(
    args: argparse.Namespace, options: TestOptions, asked: Any, runtime: Path
) -> list[str]:
    """Write the site of a run into args.site; return what there is to say of it."""
    page_flags = [*args.test_flags, "--gpu_ids", "-1", "--dropout_at_test", "off"]
    if args.size:
        side = str(args.size[0])
        page_flags += ["--preprocess", "resize_and_crop", "--load_size", side, "--crop_size", side]
    with new_files(args.site) as part:
        translator = load(options, args.test_flags)
        site = Site(part, translator, options.read(page_flags), args.title)
        site.write_page()
        check_free(args.site, part, earlier_files(args.site))
        with tempfile.TemporaryDirectory() as folder, open(f"{folder}/graph", "w+b") as file:
            model, _ = write_graph(file, translator, args, {})
        choices = {"size": args.size, "processing": args.processing, "tolerance": args.tolerance}
        kept = site.write_network(model, Check(translator, **choices), runtime)
        facts = origin(weights_of(translator), asked)
        facts["statistics"] = statistics(asked, translator.model.generator())
        (part / "card.md").write_text(card(site, facts, kept), encoding="utf-8")
        lines = [f"weights: {kept}", f"a first visit loads {in_words(site.size('wasm'))}"]
    serve = f"python -m http.server --directory {args.site}"
    return [*lines, f"written: {args.site}/index.html; try it: {serve}"]


def precision(moved: Moved) -> str:
    """Say how the weights are kept, and how far that moves outputs."""
    extent = f"by at most {moved.levels:.2g} of 255 grey levels"
    if moved.share:
        extent += f", and {100 * moved.share:.2g}% of the values by more than {MOST_LEVELS}"
    if moved.allowed:
        return f"half precision, cast to float32 by the graph; it moves outputs {extent}"
    return f"float32, since half precision would move outputs {extent}"


def some(examples: Inputs | None) -> Iterator[np.ndarray]:
    """Yield the examples that can be read."""
    for number in range(len(examples) if examples else 0):
        try:
            yield examples[number]
        except (ValueError, OSError) as error:
            log.warning("left out: %s", error)


def card(site: Site, facts: dict[str, str], kept: str) -> str:
    """Return the model card of a site, as Markdown."""
    opt = site.opt
    rows = {
        **facts,
        "images": f"--preprocess {opt.preprocess} --load_size {opt.load_size} --crop_size "
        f"{opt.crop_size}",
        "weights on this site": kept,
        "noise": "off, so one input has one output",
        "runtime": f"{PACKAGE} {VERSION} (MIT licence), WebGPU or WebAssembly",
        "first visit": f"{in_words(site.size('wasm'))} with WebAssembly, "
        f"{in_words(site.size('webgpu'))} with WebGPU",
    }
    table = [f"| {name} | {value} |" for name, value in rows.items()]
    lines = [f"# {site.title}", "", "A network that translates images in the browser.", ""]
    lines += ["| | |", "|---|---|", *table, ""]
    lines += ["Nothing that is drawn or opened on the page leaves the visitor's device.", ""]
    return "\n".join(lines)
