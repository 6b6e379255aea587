"""Names that are no UTF-8, and consoles that are not: nothing is refused, nothing is mixed up."""

import csv
import importlib
import io
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
import torch
from conftest import TINY, draw_pairs, draw_sets

import train
from options.config_files import read_run
from translator import Translator
from util.command import Output, run_command
from util.names import escaped, unescaped

Command = Callable[..., SimpleNamespace]
# Latin-1, Shift-JIS, half of a UTF-8 character, a line break, an escape that is none.
STEMS = [b"caf\xe9", b"\x83e\x83X\x83g", b"half\xc3", b"two\nlines", rb"caf\xe9", b"100% #1?"]
NAMES = [os.fsdecode(stem) for stem in STEMS]
FLAGS = [*TINY, "--name", "r", "--print_freq", "1"]
TEST = ["--gpu_ids", "-1", "--num_threads", "0"]


def renamed(folder: Path) -> None:
    """Give the images of a folder odd names."""
    for path, name in zip(sorted(folder.iterdir()), NAMES, strict=False):
        path.rename(folder / f"{name}{path.suffix}")


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs in a folder whose name is no UTF-8, as those of its images."""
    root = tmp_path_factory.mktemp("odd") / os.fsdecode(b"donn\xe9es")
    try:
        draw_pairs(root, count=len(NAMES))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    for phase in ("train", "val", "test"):
        renamed(root / phase)
    return root


@pytest.fixture(scope="module")
def trained(odd: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs, of such a name, with a run on them."""
    folder = tmp_path_factory.mktemp("runs") / os.fsdecode(b"l\xe4ufe")
    flags = ["--dataroot", odd, "--checkpoints_dir", folder, "--val_freq", "1"]
    assert run_command(train.main, [*FLAGS, *map(str, flags)]) == 0
    return folder


@pytest.fixture
def run(trained: Path, command: Command) -> Path:
    """A copy of that run."""
    shutil.copytree(trained, trained.name)
    return Path(trained.name) / "r"


def pages_images(page: Path) -> list[bytes]:
    """Return the files that a page shows; each of them exists."""
    found = [unquote_to_bytes(url) for url in re.findall(r'src="([^"?]*)', page.read_text("utf-8"))]
    for path in found:
        assert os.path.exists(os.path.join(os.fsencode(page.parent), path)), path
    return found


def test_a_training_keeps_them(run: Path, odd: Path) -> None:
    assert read_run(run)["dataroot"] == str(odd)
    assert rf"dataroot: {odd.parent}/donn\xe9es" in (run / "train_opt.txt").read_text("utf-8")
    state = torch.load(run / "latest_state.pth", weights_only=True)
    assert state["options"]["dataroot"] == str(odd)
    assert pages_images(run / "web/index.html")


def test_it_resumes_and_logs_them(run: Path, odd: Path, command: Command, caplog) -> None:
    flags = ["--checkpoints_dir", str(run.parent), "--continue_train", "--n_epochs", "2"]
    stream = io.TextIOWrapper(io.BytesIO(), "utf-8")
    logging.getLogger().addHandler(handler := Output(stream))
    try:
        result = command("train", *FLAGS, *flags, "--num_threads", "2")
    finally:
        logging.getLogger().removeHandler(handler)
    assert result.status == 0, result.err
    text = stream.buffer.getvalue().decode()
    assert r"resuming from l\xe4ufe/r/latest_state.pth" in text
    assert rf"dataroot: {odd.parent}/donn\xe9es" in text


def test_results_and_their_page_have_the_same_bytes(run: Path, command: Command) -> None:
    where = ["--name", "r", "--checkpoints_dir", str(run.parent)]
    assert command("test", *TEST, *where, "--results_dir", NAMES[0]).status == 0
    page = Path(NAMES[0]) / "r/test_latest/index.html"
    shown = pages_images(page)
    for label in ("real_A", "fake_B", "real_B"):
        assert {p for p in shown if label.encode() in p} == {
            b"images/" + stem + f"_{label}.png".encode() for stem in STEMS
        }
    headings = re.findall(r"<h2>(.*?)</h2>", page.read_text("utf-8"))
    assert sorted(map(unescaped, headings)) == sorted(NAMES)


def test_shards_continue_after_them(run: Path, command: Command, caplog) -> None:
    where = ["--name", "r", "--checkpoints_dir", str(run.parent)]
    for shard in (0, 1, 1):
        flags = ["--num_shards", "2", "--shard_id", str(shard)]
        assert command("test", *TEST, *where, *flags).status == 0
    assert "0 images translated, 3 already finished" in caplog.text
    assert command("test", *TEST, *where, "--page_only").status == 0
    assert "all 6 images" in caplog.text
    page = Path("results/r/test_latest/index.html")
    assert len(pages_images(page)) == 3 * len(NAMES)
    for path in (page.parent / "shards").iterdir():
        assert path.read_bytes().decode("utf-8")


def test_an_evaluation_names_them(run: Path, command: Command, in_this_process) -> None:
    where = ["--name", "r", "--checkpoints_dir", str(run.parent), "--out", NAMES[0]]
    result = command("scripts.evaluate", *where, "--gpu_ids", "-1", "--num_threads", "1")
    assert result.status == 0, result.err
    out = Path(NAMES[0])
    with (out / "metrics.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["picture"] for row in rows] == [escaped(name) for name in sorted(NAMES)]
    assert len((out / "metrics.csv").read_text("utf-8").splitlines()) == 1 + len(NAMES)
    numbers = json.loads((out / "metrics.json").read_text("utf-8"))
    assert any(r"donn\xe9es, test" in note for note in numbers["protocol"])
    assert len(pages_images(out / "index.html")) == 4 * len(NAMES)


def test_unpaired_images_of_such_names_are_read(command: Command, tmp_path: Path) -> None:
    root = draw_sets(tmp_path / NAMES[1])
    for folder in root.iterdir():
        renamed(folder)
    flags = ["--dataroot", root, "--model", "cycle_gan", "--ngf", "2", "--netG", "unet_64"]
    assert command("train", *FLAGS, *flags).status == 0
    assert command("test", "--name", "r", *TEST, "--model", "test", "--dataroot", root / "testA")
    assert len(pages_images(Path("results/r/test_latest/index.html"))) == 6


def test_a_translator_takes_them_with_noise_of_their_own(run: Path, odd: Path) -> None:
    t = Translator.load(run, gpu_ids=-1)
    found = t(odd / "test")
    assert sorted(Path(path).stem for path in found) == sorted(NAMES)
    path = next(iter(found))
    assert np.array_equal(np.asarray(t(path)), np.asarray(found[path]))


@pytest.mark.parametrize("task", ["grayscale", "resize --size 32"])
def test_pairs_are_made_of_them(command: Command, odd: Path, task: str) -> None:
    flags = ["--task", *task.split(), "--num_threads", "1", odd / "train", NAMES[0]]
    result = command("scripts.make_pairs", *flags)
    assert result.status == 0, result.err
    assert {path.stem for path in Path(NAMES[0]).rglob("*.png")} == set(NAMES)


def test_an_error_names_the_file(command: Command, odd: Path) -> None:
    root = shutil.copytree(odd, Path(odd.name))
    (root / "train" / f"{NAMES[0]}.png").write_bytes(b"no image")
    result = command("train", *FLAGS, "--dataroot", root)
    assert result.status == 2 and len(result.err.splitlines()) == 1
    assert r"donn\xe9es/train/caf\xe9.png: cannot be read as an image" in result.err
    assert r"--dataroot $'" in result.err  # the command that checks all images


# Consoles --------------------------------------------------------------------------------

ENCODINGS = ["ascii", "cp1252", "cp437", "latin-1", "utf-8"]
COMMANDS = ["train", "test", *(f"scripts.{name}" for name in "doctor draw export sweep".split())]
COMMANDS += ["scripts.evaluate", "scripts.make_pairs", "scripts.download"]
TEXT = f"{NAMES[0]} café × ± – … 図 😀"


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], io.BytesIO]:
    """Replace standard output and errors by a console with an encoding."""

    def use(encoding: str) -> io.BytesIO:
        shown = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding))
        monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(shown, encoding))
        return shown

    return use


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", COMMANDS)
def test_help_can_be_read_on_every_console(console, name: str, encoding: str) -> None:
    main, shown = importlib.import_module(name).main, console(encoding)
    with pytest.raises(SystemExit) as end:
        run_command(main, ["--help"])
    sys.stdout.flush()
    assert end.value.code == 0 and "--help" in shown.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_errors_log_lines_and_prints_can_be_read(console, encoding: str, capfd) -> None:
    shown = console(encoding)

    def main(args: object) -> None:
        Output(sys.stdout).handle(logging.makeLogRecord({"msg": f"log {TEXT}"}))
        print(f"print {TEXT}")
        raise ValueError(f"--dataroot {TEXT}")

    assert run_command(main, []) == 2
    sys.stderr.flush()
    lines = [unescaped(line) for line in shown.getvalue().decode(encoding).splitlines()]
    assert [line.partition(" ")[2] for line in lines[:2]] == [TEXT] * 2
    assert lines[2].endswith(f"error: --dataroot {TEXT}") and len(lines) == 3


def test_a_stream_without_an_encoding_takes_log_lines(capfd) -> None:
    stream = io.StringIO()
    Output(stream).handle(logging.makeLogRecord({"msg": TEXT}))
    assert unescaped(stream.getvalue()) == f"{TEXT}\n" and stream.getvalue().encode()
    assert capfd.readouterr().err == ""
