"""ONNX files of runs on label maps: class numbers in, as test.py translates them."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from support.drawing import draw_labels, untrained
from support.label_folders import draw_label_folders
from support.label_maps import HD, SPADE

from scripts.onnx_export.graph import OnClasses, frozen_copy
from translator import Translator
from util.label_maps import instance_edges

CLASSES = 4
CPU = ("--gpu_ids", "-1", "--preprocess", "none")
SIZES = [(1, 64, 64), (2, 37, 71), (3, 9, 7)]
SYNC = ("--norm_G", "spectralspadesyncbatch3x3")


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Path]:
    """Save a run that has learnt nothing but answers; return its folder."""

    def build(*flags: str) -> Path:
        data = draw_label_folders(tmp_path / "data", classes=CLASSES, phases=("train",))
        return untrained(tmp_path, data, *flags)

    return build


@pytest.fixture
def exported(command: Any, tmp_path: Path) -> Callable[..., Any]:
    places = ["--checkpoints_dir", tmp_path, "--name", "run"]
    return lambda *flags: command("scripts.export", *places, *flags)


def graph_of(folder: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        folder / "latest_net_G.onnx", providers=["CPUExecutionProvider"]
    )


def label_maps(channels: int, count: int, height: int, width: int) -> np.ndarray:
    """Draw areas of classes, and edges."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, CLASSES, (count, 1, -(-height // 3), -(-width // 3)))
    numbers = small.repeat(3, 2).repeat(3, 3)[..., :height, :width]
    edges = instance_edges(torch.from_numpy(numbers)).numpy().astype(np.int64)
    return np.concatenate([numbers, edges], 1)[:, :channels]


def check_equal(folder: Path, channels: int) -> None:
    """Expect the graph to translate label maps of all sizes as the run does, and not to grey."""
    t, graph = Translator.load(folder, *CPU), graph_of(folder)
    for size in SIZES:
        x = label_maps(channels, *size)
        (fake,) = graph.run(None, {"input": x})
        wanted = t.translate(torch.from_numpy(x)).numpy()
        assert fake.shape == wanted.shape and np.abs(fake - wanted).max() < 1e-4
        assert fake.std() > 0.02 and np.abs(fake).mean() < 0.9


@pytest.mark.parametrize(
    ("flags", "channels"),
    [
        ((*SPADE, *SYNC), 2),
        pytest.param(
            (*SPADE, "--norm_G", "spadeinstance5x5", "--no_instance"), 1, marks=pytest.mark.slow
        ),
        pytest.param((*SPADE, "--num_upsampling_layers", "most"), 2, marks=pytest.mark.slow),
        pytest.param((*HD, "--no_instance"), 1, marks=pytest.mark.slow),
        pytest.param((*HD, "--norm", "batch"), 2, marks=pytest.mark.slow),
        pytest.param((*HD, "--netG", "local"), 2, marks=pytest.mark.slow),
    ],
)
def test_a_graph_translates_label_maps_of_every_size_as_the_run_does(
    made, exported, flags: tuple[str, ...], channels: int
) -> None:
    folder = made(*flags)
    result = exported()
    assert result.status == 0, result.err
    assert (result.out, result.err) == ("", "")
    check_equal(folder, channels)
    graph = graph_of(folder)
    (x,), (y,) = graph.get_inputs(), graph.get_outputs()
    assert (x.type, x.shape) == ("tensor(int64)", ["batch", channels, "height", "width"])
    assert (y.type, y.shape) == ("tensor(float)", ["batch", 3, "height", "width"])


def test_spectral_norm_is_in_the_weights_of_the_copy(made) -> None:
    t = Translator.load(made(*SPADE), *CPU)
    labels = torch.from_numpy(label_maps(2, 1, 64, 64))
    wanted = t.translate(labels)  # which leaves a weight behind that cannot be copied
    net = frozen_copy(t.model.generator())
    assert isinstance(net, OnClasses) and not net.training
    assert not any("weight_orig" in key or "weight_u" in key for key in net.state_dict())
    torch.testing.assert_close(net(labels), wanted)
    assert torch.equal(t.translate(labels), wanted)  # the run's own network is as it was


@pytest.mark.slow
def test_a_vae_has_the_mean_style(made, exported) -> None:
    folder = made(*SPADE, "--use_vae")
    assert exported().status == 0
    x = label_maps(2, 2, 40, 64)
    (fake,) = graph_of(folder).run(None, {"input": x})
    t = Translator.load(folder, *CPU)
    labels = torch.from_numpy(x).float()
    with t.model.test_mode(["0", "1"]):
        wanted = t.model.synthesis(labels, torch.zeros(2, 256)).numpy()
    assert np.abs(fake - wanted).max() < 1e-4
    assert "| style | z = 0" in (folder / "latest_net_G.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("--no_instance",)])
def test_the_card_says_what_goes_in_and_its_example_runs(made, exported, flags) -> None:
    folder = made(*SPADE, *flags)
    assert exported().status == 0
    card = folder / "latest_net_G.md"
    text = card.read_text()
    for words in (
        *(
            "class numbers 0 to 3",
            "one-hot inside the graph",
            "running statistics",
            "--model spade",
        ),
        *("by the nearest label to multiples of 32", "--norm_G spectralspadesyncbatch3x3"),
        *("--model spade", "--label_nc 4", "random label maps", "none in this network"),
    ):
        assert words in text, words
    assert ("second channel" in text) == (not flags)
    labels = label_maps(1, 1, 41, 50)[0, 0].astype(np.uint8)
    Image.fromarray(labels).save("labels.png")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(code.replace('"latest_net_G.onnx"', repr(str(folder / "latest_net_G.onnx"))), {})
    wanted = Translator.load(folder, *CPU)(labels)
    found = np.asarray(Image.open("output.png"))
    assert np.abs(found.astype(int) - wanted).max() <= 1


@pytest.mark.slow
def test_levels_in_and_out_with_processing(made, exported) -> None:
    folder = made(*SPADE)
    assert exported("--processing", "--size", "40,64").status == 0
    labels = label_maps(1, 2, 40, 64)[:, 0].astype(np.uint8)
    (fake,) = graph_of(folder).run(None, {"input": labels[..., None]})
    wanted = np.stack(Translator.load(folder, *CPU)(list(labels)))
    assert fake.dtype == np.uint8 and fake.shape == (2, 40, 64, 3)
    assert np.abs(fake.astype(int) - wanted).max() <= 1


@pytest.mark.slow
def test_a_pix2pixHD_of_images_is_exported_as_any_network_of_images(exported, tmp_path) -> None:
    run = untrained(tmp_path, draw_labels(tmp_path / "data"), *HD, "--dataset_mode", "aligned")
    assert exported("--size", "64").status == 0
    x = np.random.default_rng(0).uniform(-1, 1, (1, 3, 64, 64)).astype(np.float32)
    (fake,) = graph_of(run).run(None, {"input": x})
    wanted = Translator.load(run, *CPU).translate(torch.from_numpy(x)).numpy()
    assert np.abs(fake - wanted).max() < 1e-4


def test_what_a_graph_cannot_hold_is_refused(made, exported) -> None:
    made(*HD, "--instance_feat", "--feat_num", "2", "--nef", "2")
    result = exported()
    assert result.status == 2 and "--instance_feat" in result.err and result.err.count("\n") == 1


def test_more_classes_than_uint8_has_are_refused(made, exported) -> None:
    made(*SPADE, "--label_nc", "300")
    result = exported("--processing")
    assert result.status == 2 and "--processing: uint8 has 256 classes" in result.err
