"""Benchmark this framework against plain PyTorch code: `python -m scripts.dev.benchmark`.

The plain code is plain_pix2pix.py, plain_cyclegan.py and plain_spade.py beside this file: eager,
float32, images decoded by PIL in every epoch, label maps one-hot. Both sides run in turn, each in
its own process, with the same number of threads. Prints a table: the median of the rounds (min –
max), the ratio, and the fraction of the machine's peak that ours reaches.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from data import Loader, create_dataset
from data.builtin_facades import write_once
from data.dataset_files import all_files
from data.image_cache import ImageCache
from models import create_model
from options.parser import OneLineParser, number
from options.train_options import TrainOptions
from scripts.dev import plain_pix2pix
from scripts.dev.ceiling import bytes_of, operations_of, share_of_ceiling
from scripts.dev.measure import (
    BenchmarkRow,
    Spread,
    Step,
    in_turn,
    machine,
    seconds_of,
    side_by_side,
    timed_command,
)
from scripts.dev.training_steps import (
    CUDA,
    PRECISIONS,
    ceiling_of,
    cyclegan,
    inpaint,
    memory,
    spade,
    steps,
    training,
)
from util.command import run_command
from util.device import tune_malloc
from util.errors import one_line
from util.files import ROOT


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the chosen sections and print the table."""
    parser = OneLineParser(prog="python -m scripts.dev.benchmark", description=__doc__)
    parser.add_argument(
        "--sections",
        default=",".join(SECTIONS),
        help="sections to run; gpu: those that differ on a GPU",
    )
    parser.add_argument(
        "--rounds", type=number(int, 1), default=5, help="number of rounds per measurement"
    )
    parser.add_argument("--batches", default="1,4,16", help="batch sizes of the training step")
    parser.add_argument(
        "--dataroot", help="folder with A|B pairs in train/; by default the built-in pairs"
    )
    parser.add_argument(
        "--labels",
        help="folder with label maps of COCO-Stuff for the step of SPADE; by default drawn ones",
    )
    parser.add_argument("--images", type=number(int, 1), default=400, help="images for test.py")
    parser.add_argument("--json", help="JSON file to write the numbers to")
    args = parser.parse_args(argv)
    sections = args.sections.replace("gpu", GPU).split(",")
    if unknown := set(sections) - set(SECTIONS):
        raise ValueError(f"--sections {','.join(unknown)}: known sections: {', '.join(SECTIONS)}")
    if args.dataroot and not (Path(args.dataroot) / "train").is_dir():
        raise ValueError(f"--dataroot {args.dataroot}: holds no folder train/ of A|B images")

    print(machine(), flush=True)
    print("\n| what | unit | plain | ours | ratio | of the ceiling |\n|---|---|---|---|---|---|")
    rows, failed = [], []
    with tempfile.TemporaryDirectory() as folder:
        args.folder = Path(folder)
        # As in normal use, commands find compiled bytecode.
        if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
            os.environ["PYTHONPYCACHEPREFIX"] = f"{folder}/compiled"
        if not args.dataroot:
            args.dataroot = f"{folder}/builtin"
            write_once(args.dataroot)
        args.dataroot = str(Path(args.dataroot).resolve())
        for name in sections:
            try:
                for row in SECTIONS[name](args):
                    rows.append(row)
                    plain, ours = show(row.plain), show(row.ours)
                    line = (row.what, row.unit, plain, ours, f"{row.ratio:.2f}", row.ceiling)
                    print(f"| {' | '.join(line)} |", flush=True)
                    if args.json:  # now, so that it is there if a later section is stopped
                        content = {"machine": machine(), "rows": [row._asdict() for row in rows]}
                        Path(args.json).write_text(json.dumps(content, indent=1) + "\n")
            except Exception as error:  # the other sections go on
                failed.append(name)
                problem = one_line(error) or type(error).__name__
                print(f"section {name}: {problem}", file=sys.stderr, flush=True)
    if failed:
        raise ValueError(f"--sections {','.join(failed)}: not measured; the lines above say why")


def show(spread: Spread) -> str:
    """Return a spread as a cell of the table."""
    median, least, most = (f"{v:.3g}" if v < 1000 else f"{v:.0f}" for v in spread)
    return f"{median} ({least} – {most})"


# Data, whole commands -------------------------------------------------------------------


def pipeline(args: Any) -> Iterator[BenchmarkRow]:
    """Load pairs from files to batches on one core: the first epoch, and later epochs."""
    epochs = {
        "plain": (plain_epoch, (args.dataroot,)),
        "first epoch": (our_epoch, (args.dataroot, True)),
        "later epochs": (our_epoch, (args.dataroot, False)),
        "bare": (bare_epoch, (args.dataroot,)),
    }
    count = len(list((Path(args.dataroot) / "train").iterdir()))
    rates = {
        name: Spread(count / s.median, count / s.most, count / s.least)
        for name, s in in_turn(epochs, args.rounds).items()
    }
    moved = 2 * 256 * 256 * 3 * (1 + 4)  # bytes per pair: uint8 read, float32 written
    ceilings = {
        "first epoch": f"{rates['first epoch'].median / rates['bare'].median:.0%} (PIL)",
        "later epochs": share_of_ceiling(
            1 / rates["later epochs"].median, 0, moved, torch.device("cpu"), torch.float32
        ),
    }
    for name, ceiling in ceilings.items():
        what = f"pairs to batches of one, {name}, one core"
        yield BenchmarkRow(what, "images/s", rates["plain"], rates[name], ceiling)


def plain_epoch(dataroot: str) -> Step:
    """Return an epoch of batches of one pair with the plain code."""
    torch.set_num_threads(1)
    files = sorted((Path(dataroot) / "train").iterdir())
    loader = torch.utils.data.DataLoader(plain_pix2pix.Pairs(files), batch_size=1, shuffle=True)
    return partial(exhaust, loader.__iter__)


def bare_epoch(dataroot: str) -> Step:
    """Return an epoch of decoding and resizing alone, which only PIL can do."""

    def decode_and_resize(file: Path) -> None:
        pair = Image.open(file)
        for _ in "AB":
            pair.resize((286, 286), Image.Resampling.BICUBIC, (0, 0, pair.width // 2, pair.height))

    files = sorted((Path(dataroot) / "train").iterdir())
    return partial(exhaust, lambda: map(decode_and_resize, files))


def our_epoch(dataroot: str, first: bool) -> Step:
    """Return an epoch of our loader: the first of a training, or a later one."""
    torch.set_num_threads(1)
    tune_malloc()  # as train.py does
    flags = ["--dataroot", dataroot, "--num_threads", "0", "--gpu_ids", "-1", "--cache", "ram"]
    with tempfile.TemporaryDirectory() as folder:
        opt = TrainOptions().read([*flags, "--checkpoints_dir", folder])
        loader = create_dataset(opt)
    if not first:
        return partial(exhaust, loader.__iter__)
    dataset, caches = loader.dataset, []

    def first_epoch() -> None:
        caches.append(dataset.cache)  # to free its memory is no part of a first epoch
        dataset.cache = ImageCache(all_files(dataset.files_by_side()))
        exhaust(Loader(dataset, opt).__iter__)

    return first_epoch


def exhaust(items: Callable[[], Any]) -> None:
    for _ in items():
        pass


def testing(args: Any) -> Iterator[BenchmarkRow]:
    """Run test.py as a whole process, including writing PNG files."""
    files = sorted((Path(args.dataroot) / "train").iterdir())
    pairs, runs = args.folder / "many" / "test", args.folder / "runs"
    pairs.mkdir(parents=True)
    for i in range(args.images):
        source = files[i % len(files)]
        (pairs / f"{i:05d}{source.suffix}").symlink_to(source)
    flags = ["--dataroot", str(pairs.parent), "--name", "net", "--checkpoints_dir", str(runs)]
    flags += ["--gpu_ids", "0" if CUDA else "-1"]
    model = create_model(TrainOptions().read([*flags, "--direction", "BtoA"]))
    model.setup(model.opt)
    model.save_networks("latest")
    image = torch.zeros(1, 3, 256, 256, device=model.device)
    with torch.no_grad():
        operations, moved = (
            of(partial(model.nets["G"], image)) for of in (operations_of, bytes_of)
        )

    weights, out = runs / "net" / "latest_net_G.pth", args.folder / "plain"
    plain = [sys.executable, "-m", "scripts.dev.plain_pix2pix", str(pairs), str(weights), str(out)]
    ours = [sys.executable, "test.py", *flags, "--results_dir", str(args.folder / "results")]
    commands = {"plain": plain, **{p: [*ours, "--precision", p] for p in PRECISIONS}}
    rates: dict[str, list[float]] = {name: [] for name in commands}
    shares = {}  # what test.py says of its time in the last round, without the start
    for _ in range(max(args.rounds // 2, 1)):
        for name, command in commands.items():
            shutil.rmtree(args.folder / "results", ignore_errors=True)
            seconds, printed = timed_command(command, ROOT)
            rates[name].append(args.images / seconds)
            shares[name] = next((line for line in printed if "images a second" in line), "")
    spreads = {name: Spread.of(values) for name, values in rates.items()}
    for precision in PRECISIONS:
        rate = spreads[precision]
        ceiling = ceiling_of(precision, 1 / rate.median, operations, moved)
        what = f"test.py, {precision} ({shares[precision]})"
        yield BenchmarkRow(what, "images/s", spreads["plain"], rate, ceiling)


def start(args: Any) -> Iterator[BenchmarkRow]:
    """Measure start-up times."""
    bare = [sys.executable, "-c", "import torch"]
    helps = [sys.executable, "train.py", "--help"]
    commands = {"plain": partial(seconds_of, bare, ROOT), "ours": partial(seconds_of, helps, ROOT)}
    spreads = side_by_side(commands, args.rounds)
    yield BenchmarkRow(
        "train.py --help; plain: import torch", "s", spreads["plain"], spreads["ours"]
    )
    train = [sys.executable, "train.py", "--dataroot", args.dataroot, "--name", "start"]
    train += ["--checkpoints_dir", str(args.folder / "runs"), "--print_freq", "1", "--no_html"]
    first = partial(seconds_of, train, ROOT, "(epoch: 1, iters: 1,")
    times = side_by_side({"ours": first}, args.rounds)["ours"]
    yield BenchmarkRow(
        "train.py to its first step; plain: import torch", "s", spreads["plain"], times
    )


SECTIONS: dict[str, Callable[[Any], Iterator[BenchmarkRow]]] = {
    "step": steps,
    "cyclegan": cyclegan,
    "spade": spade,
    "inpaint": inpaint,
    "memory": memory,
    "training": training,
    "data": pipeline,
    "test": testing,
    "start": start,
}
GPU = "step,training,test,memory,cyclegan,inpaint,spade"  # what differs on a GPU

if __name__ == "__main__":
    raise SystemExit(run_command(main))
