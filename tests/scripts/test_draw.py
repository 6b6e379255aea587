"""python -m scripts.draw: its flags, and what it finds out about a run."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from conftest import FACADES, draw, draw_pairs, needs_facades, refusal
from PIL import Image
from support.drawing import draw_labels, draw_lines, untrained

from data import builtin_facades
from scripts.draw import main
from scripts.drawing.server import Studio
from scripts.drawing.subject import classify_inputs, describe_run, newest_run
from translator import Translator

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    return untrained(root, draw_labels(root / "labels"))


def flags(run: Path, *more: str) -> list[str]:
    places = ["--checkpoints_dir", str(run.parent), "--name", run.name]
    return [*places, "--gpu_ids", "-1", "--port", "0", *more]


# The command ------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(run: Path) -> Iterator[tuple[subprocess.Popen, int]]:
    """Serve a run's page as a process of its own; its port."""
    command = [sys.executable, "-m", "scripts.draw", *flags(run)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as process:
        try:
            links = (re.search(r"http://127\.0\.0\.1:(\d+)/", line) for line in process.stdout)
            yield process, int(next(filter(None, links))[1])
        finally:
            process.kill()


@pytest.mark.slow
def test_it_serves_until_ctrl_c(run):
    with serving(run) as (process, port):
        about = requests.get(f"http://127.0.0.1:{port}/about", timeout=20)
        assert about.json()["name"] == "run"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", "") and process.returncode == 0


@pytest.mark.slow
def test_ctrl_c_is_not_held_up_by_a_request_that_does_not_come(run):
    head = "POST /translate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
    with serving(run) as (process, port), socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(f"{head}abc".encode())
        requests.get(f"http://127.0.0.1:{port}/about", timeout=20)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", "") and process.returncode == 0


def test_without_a_name_it_takes_the_newest_run(run, served, tmp_path, caplog):
    for n, name in enumerate(("old", "newest", "older")):
        (tmp_path / name).mkdir()
        for path in run.iterdir():
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
        then = time.time() - (500, 10, 900)[n]
        os.utime(tmp_path / name / "latest_net_G.pth", (then, then))
    main(["--checkpoints_dir", str(tmp_path), "--gpu_ids", "-1", "--port", "0"])
    assert len(served) == 1 and newest_run(tmp_path) == "newest"
    assert any("draw for newest at http://127.0.0.1:" in line for line in caplog.messages)


def test_the_run_may_be_named_in_a_file(run, served, tmp_path, caplog):
    (tmp_path / "newer").mkdir()
    for path in run.iterdir():
        (tmp_path / "newer" / path.name).write_bytes(path.read_bytes())
    file = tmp_path / "c.yaml"
    file.write_text(f"name: {run.name}\ncheckpoints_dir: {run.parent}\n")
    main(["--config", str(file), "--gpu_ids", "-1", "--port", "0"])
    assert any(f"draw for {run.name} at" in line for line in caplog.messages)


def test_flags_of_test_py_reach_the_translator(run, served):
    main(flags(run, "--eval", "--seed", "3"))
    assert len(served) == 1
    refusal(lambda: main(flags(run, "--epoch", "9")), "9_net_G.pth", "--epoch")
    refusal(lambda: main(flags(run, "--evla")), "--evla", "--eval")


def test_mistakes_are_said(run, served, tmp_path):
    refusal(lambda: main(["--checkpoints_dir", str(tmp_path / "no")]), "--name", "no trained run")
    refusal(lambda: main(flags(run.parent / "rum")), "rum", "did you mean --name run?")
    refusal(lambda: main([*flags(run), "--port", "99999"]), "--port", "65535")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refusal(lambda: main(flags(run, "--port", port)), f"--port {port}", "--port 0")
    refusal(lambda: main(flags(run, "--host", "203.0.113.7")), "--host 203.0.113.7")
    refusal(lambda: main(flags(run, "--dataroot", "no")), "--dataroot no", "no such folder")
    refusal(lambda: main(flags(run, "--prot", "8000")), "--prot", "did you mean --port?")
    assert served == []


def test_other_machines_are_let_in_only_when_asked_to_and_it_is_said(run, served, caplog):
    main(flags(run))
    assert not [r for r in caplog.records if r.levelname == "WARNING"]
    main(flags(run, "--host", "0.0.0.0"))
    assert [r.getMessage()[:15] for r in caplog.records if r.levelname == "WARNING"] == [
        "--host 0.0.0.0:"
    ]
    assert served == ["127.0.0.1", "0.0.0.0"]


def test_missing_packages_are_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    refusal(lambda: main(flags(run)), "pip install starlette uvicorn")


# What there is to draw ----------------------------------------------------------------------


@pytest.mark.slow
@needs_facades
def test_the_facades_have_a_palette_and_their_photos_none(tmp_path):
    names = {"AtoB": "photo", "BtoA": "labels"}
    for direction, kind in names.items():
        where = tmp_path / direction
        run = untrained(where, FACADES, "--direction", direction)
        subject, examples = describe_run(Translator.load(run, gpu_ids=-1))
        assert subject.kind == kind and subject.examples == len(examples) == 106
        assert len(subject.colours) == (12 if kind == "labels" else 0)


def test_the_built_in_classes_have_their_names(tmp_path, monkeypatch, few_builtin):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(builtin_facades.SPLITS, "train", 12)
    builtin_facades.write_once()
    run = untrained(tmp_path, Path(builtin_facades.ROOT), "--direction", "BtoA")
    subject, _ = describe_run(Translator.load(run, gpu_ids=-1))
    names = {name for _, name in subject.colours}
    assert subject.kind == "labels" and names == set(builtin_facades.PALETTE)


def test_colours_have_the_names_of_classes_txt(tmp_path, caplog):
    run = untrained(tmp_path, draw_labels(tmp_path / "labels"))
    lines = ["# of the author", "#0030FF sky", "#ff9f03: sunny wall", "3: lawn", "#123456 moon"]
    (run / "classes.txt").write_text("\n".join(lines))
    subject, _ = describe_run(Translator.load(run, gpu_ids=-1))
    assert {name: code for code, name in subject.colours if name} == {
        "sky": "#0030ff",
        "sunny wall": "#ff9f01",
    }
    assert "classes.txt: the label maps that were looked at do not have #123456 moon" in caplog.text
    for line in ("#0030ff sea", "#12 sea"):
        (run / "classes.txt").write_text(f"#0030ff sky\n{line}")
        refusal(
            lambda: describe_run(Translator.load(run, gpu_ids=-1)), "classes.txt", line.split()[0]
        )


def test_a_run_whose_data_are_gone_says_what_the_page_lacks(tmp_path, caplog):
    run = untrained(tmp_path, draw_labels(tmp_path / "labels"))
    away = (tmp_path / "labels").rename(tmp_path / "away")
    subject, examples = describe_run(Translator.load(run, gpu_ids=-1))
    assert subject.kind == "photo" and examples is None
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    for words in ("lacks examples, and label colours or a pen", "labels: no such", "--dataroot"):
        assert words in warning
    caplog.clear()
    subject, examples = describe_run(Translator.load(run, gpu_ids=-1, dataroot=away))
    assert subject.kind == "labels" and len(examples) == 3
    shutil.rmtree(away / "test")
    subject, examples = describe_run(Translator.load(run, gpu_ids=-1, dataroot=away))
    assert subject.kind == "labels" and examples is None
    (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "lacks examples: " in warning and "\n" not in warning
    for place in ("nowhere", "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        t = Translator.load(run, gpu_ids=-1, dataroot=tmp_path / place)
        refusal(lambda t=t: describe_run(t), f"--dataroot {tmp_path / place}")


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_lines_are_told_from_labels_and_photos(tmp_path, ending):
    root = draw_lines(tmp_path / "lines", count=6)
    images = []
    for path in sorted((root / "train").iterdir()):
        half = Image.open(path).crop((0, 0, 64, 64))
        half.save(tmp_path / f"a{ending}")
        images.append(np.asarray(Image.open(tmp_path / f"a{ending}").convert("RGB")))
    kind, (ink,), paper = classify_inputs(images)
    assert kind == "lines" and ink.tolist() == [0, 0, 0] and paper.tolist() == [255] * 3
    kind, (ink,), paper = classify_inputs([255 - image for image in images])
    assert kind == "lines" and ink.tolist() == [255] * 3 and paper.tolist() == [0, 0, 0]
    assert classify_inputs([np.asarray(draw((64, 64), seed)) for seed in range(6)])[0] == "photo"
    assert classify_inputs([])[0] == "photo"


def test_a_run_of_many_channels_is_refused(tmp_path):
    run = untrained(tmp_path, draw_pairs(tmp_path / "pairs"), "--input_nc", "5")
    t = Translator.load(run, gpu_ids=-1)
    refusal(lambda: describe_run(t), "--input_nc 5", "test.py")


def test_a_run_with_a_range_of_its_inputs_is_refused(tmp_path):
    run = untrained(tmp_path, draw_pairs(tmp_path / "pairs"))
    stored = {"ending": ".png", "dtype": "uint8", "low": 0, "high": 11}
    (run / "pixel_ranges.json").write_text(json.dumps(dict.fromkeys("AB", stored)))
    t = Translator.load(run, gpu_ids=-1)
    refusal(lambda: describe_run(t), "a range of values", "use scripts.translate")


def test_images_that_cannot_be_read_are_passed_over(tmp_path):
    root = draw_labels(tmp_path / "labels")
    (root / "train/1.png").write_text("milk")
    subject, _ = describe_run(Translator.load(untrained(tmp_path, root), gpu_ids=-1))
    assert subject.kind == "labels" and subject.size == (64, 64)


def test_colorization_takes_grey_photos(tmp_path):
    for phase in ("train", "test"):
        (tmp_path / "photos" / phase).mkdir(parents=True)
        draw((64, 64)).save(tmp_path / "photos" / phase / "0.png")
    run = untrained(tmp_path, tmp_path / "photos", "--model", "colorization")
    subject, examples = describe_run(Translator.load(run, gpu_ids=-1))
    assert subject.kind == "photo" and examples[0].shape == (64, 64, 1)


def test_grey_has_the_lightness_that_the_network_gets(tmp_path):
    (tmp_path / "photos/train").mkdir(parents=True)
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 256, 1)
    Image.fromarray(grey).save(tmp_path / "photos/train/0.png")
    flags = ["--model", "colorization", "--phase", "train", "--preprocess", "none"]
    t = Translator.load(untrained(tmp_path, tmp_path / "photos", *flags), *flags, gpu_ids=-1)
    _, examples = describe_run(t)
    assert np.array_equal(examples[0][..., 0], grey)


def test_a_page_that_would_crop_what_it_shows_once_more_is_refused(tmp_path):
    run = untrained(tmp_path, draw_labels(tmp_path / "labels"))
    t = Translator.load(run, "--load_size", "80", "--crop_size", "64", gpu_ids=-1)
    refusal(lambda: Studio(t, *describe_run(t)), "--load_size 80 above --crop_size 64")
    t = Translator.load(run, "--load_size", "80", "--preprocess", "scale_width", gpu_ids=-1)
    Studio(t, *describe_run(t))


def test_both_sides_of_a_cyclegan_can_be_drawn(tmp_path):
    root = tmp_path / "sets"
    for phase in ("trainA", "trainB", "testA", "testB"):
        (root / phase).mkdir(parents=True)
    pair = draw_labels(tmp_path / "labels")
    for phase in ("train", "test"):
        for path in (pair / phase).iterdir():
            Image.open(path).crop((0, 0, 64, 64)).save(root / f"{phase}A" / path.name)
            draw((64, 64), 3).save(root / f"{phase}B" / path.name)
    run = untrained(tmp_path, root, "--model", "cycle_gan")
    for direction, kind in (("AtoB", "labels"), ("BtoA", "photo")):
        subject, _ = describe_run(Translator.load(run, gpu_ids=-1, direction=direction))
        assert subject.kind == kind
