"""ONNX files of runs that fill holes: image, mask and sketch in, as the run fills them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from conftest import draw
from PIL import Image
from support.documents import PAGES
from support.holes import save_mask, saved_run

from translator import Translator

# Untrained networks that fill holes with more than grey, and see lines.
STRONG = ("--init_type", "orthogonal", "--init_gain", "2")


@pytest.mark.parametrize(
    ("flags", "size"),
    [
        ([], (40, 48)),
        (["--guided"], (32, 32)),
        (["--attention", "none"], (37, 23)),
        (["--hole_noise", "1"], (32, 40)),  # a graph has no noise
    ],
    ids=["contextual", "guided", "none", "noise"],
)
def test_the_graph_fills_holes_as_the_run_does(command: Any, tmp_path: Path, flags, size) -> None:
    run = saved_run(tmp_path, *STRONG, *flags)
    place = ("--checkpoints_dir", tmp_path, "--name", "run")
    result = command("scripts.export", *place, "--size", ",".join(map(str, size)))
    assert result.status == 0, result.err
    session = onnxruntime.InferenceSession(run / "latest_net_G.onnx")
    names = ["image", "mask"] + ["sketch"] * ("--guided" in flags)
    assert [value.name for value in session.get_inputs()] == names
    rng = np.random.default_rng(1)
    parts = [rng.uniform(-1, 1, (2, 3, *size)), np.zeros((2, 1, *size)), rng.random((2, 1, *size))]
    parts[1][0, :, 3:20, 4:12], parts[1][1, :, 9:14, 6:20] = 1, 1
    parts[2] = parts[2] < 0.1
    inputs = {n: of.astype(np.float32) for n, of in zip(names, parts, strict=False)}
    (found,) = session.run(None, inputs)
    t = Translator.load(run, gpu_ids=-1)
    t.model.nets["G"].hole_noise = 0.0
    wanted = t.translate(torch.from_numpy(np.concatenate([*inputs.values()], 1))).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert wanted[np.broadcast_to(inputs["mask"] > 0, wanted.shape)].std() > 0.01
    inputs["mask"] = inputs["mask"][::-1].copy()
    assert np.abs(session.run(None, inputs)[0] - wanted).max() > 0.1


def test_the_example_on_the_card_runs(command: Any, tmp_path: Path, monkeypatch: Any) -> None:
    run = saved_run(tmp_path)
    place = ("--checkpoints_dir", tmp_path, "--name", "run")
    assert command("scripts.export", *place, "--size", "40,48").status == 0
    card = (run / "latest_net_G.md").read_text()
    assert (
        "--cnum 4 --attention contextual" in card and "`mask`: float32 (batch, 1, 40, 48)" in card
    )
    monkeypatch.chdir(run)
    draw((48, 40), 1).save("image.png")
    hole = save_mask(run / "mask.png")
    exec(re.search(r"```python\n(.*?)```", card, re.DOTALL)[1], {})
    found = np.asarray(Image.open("output.png")).astype(int)
    t = Translator.load(run, gpu_ids=-1, preprocess="none")
    wanted = np.asarray(t("image.png", mask=hole))
    assert np.abs(found - wanted).max() <= 1 and np.array_equal(found[~hole], wanted[~hole])


def test_the_code_of_the_page_fills_holes_as_the_run_does(
    command: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    page = PAGES["export.md"]
    (line,) = re.findall(r"^python -m (scripts\.export .*photos_guided.*)$", page, re.MULTILINE)
    (code,) = re.findall(r"<!-- file: fill\.py -->\n```python\n(.*?)```", page, re.DOTALL)
    run = tmp_path / "checkpoints" / "photos_guided"
    saved_run(run.parent, "--guided", *STRONG).rename(run)
    monkeypatch.chdir(tmp_path)
    assert command(*line.replace("256", "64").split()).status == 0
    draw((64, 64), 1).save("photo.png")
    hole = save_mask(tmp_path / "mask.png", (64, 64), (12, 9, 35, 50))
    lines = save_mask(tmp_path / "lines.png", (64, 64), (12, 25, 35, 28))
    Image.fromarray(np.uint8(255 * ~lines)).save("sketch.png")
    exec(code.replace("256", "64"), names := {})
    found = np.asarray(Image.open("filled.png")).astype(int)
    t = Translator.load(run, gpu_ids=-1, preprocess="none")
    given = {"mask": "mask.png", "sketch": "sketch.png"}
    wanted = np.asarray(t("photo.png", **given)).astype(int)
    assert np.abs(found - wanted).max() <= 1 and np.array_equal(found[~hole], wanted[~hole])
    inputs = {name: x.astype(np.float32) for name, x in names["inputs"].items()}
    without = names["session"].run(None, inputs | {"sketch": np.zeros_like(inputs["sketch"])})
    wanted = t.translate(t.prepare("photo.png", **given)[None]).numpy()
    off = np.abs(names["fake"] - wanted).max()
    assert off < 0.1 * np.abs(names["fake"] - without).max()  # the lines are the same


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("", "--size: --model inpaint needs it; its graph has one size, such as --size 256"),
        ("--size 15", "--size 15,15: --model inpaint needs at least 16 pixels a side"),
        ("--size 256,8", "--size 256,8: --model inpaint needs at least 16 pixels a side"),
        ("--size 32 --processing", "--processing: --model inpaint takes images in [-1, 1]"),
        ("--size 32 --dropout", "--dropout: --model inpaint has none"),
    ],
)
def test_what_a_graph_cannot_have_is_refused_before_it_is_written(
    command: Any, tmp_path: Path, caplog: Any, flags: str, words: str
) -> None:
    run, place = saved_run(tmp_path), ("--checkpoints_dir", tmp_path, "--name", "run")
    result = command("scripts.export", *place, *flags.split())
    assert result.status == 2 and words in result.err and len(result.err.splitlines()) == 1
    assert "writing the graph" not in caplog.text and not list(run.glob("*.onnx"))


def test_the_smallest_size_is_exported(command: Any, tmp_path: Path) -> None:
    run, place = saved_run(tmp_path), ("--checkpoints_dir", tmp_path, "--name", "run")
    assert command("scripts.export", *place, "--size", "16").status == 0
    assert (run / "latest_net_G.onnx").exists()
