"""The ONNX files of scripts/export.py translate as test.py does, and none is left that does not."""

import builtins
import hashlib
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import TINY, draw, random_batch, step
from onnx import numpy_helper
from PIL import Image
from torch import nn

from models import networks
from models.networks import ResnetGenerator, UnetGenerator, define_G
from scripts import export
from scripts.onnx_export import writing
from scripts.onnx_export.card import processing
from scripts.onnx_export.graph import AnySize, Noise, frozen_copy
from training.ema import EMA
from translator import Translator

UNET = ("--netG", "unet_32", "--init_gain", "0.1")
RESNET = ("--netG", "resnet_1block", "--init_gain", "0.1")
ON_CPU = ("--gpu_ids", "-1", "--dropout_at_test", "off", "--preprocess", "none")
SIZES = [(1, 64, 64), (2, 37, 71), (1, 33, 16), (3, 5, 4), (1, 1, 2)]


@pytest.fixture(autouse=True)
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generators that torch.onnx is soon done with."""
    small = {
        "unet_32": partial(UnetGenerator, num_downs=5),
        "resnet_1block": partial(ResnetGenerator, n_blocks=1),
    }
    monkeypatch.setattr(networks, "GENERATORS", networks.GENERATORS | small)


@pytest.fixture
def run(make: Callable[..., Any], tmp_path: Path) -> Callable[..., Path]:
    """Save a run, trained for `steps` on batches of such channels; return its folder."""

    def build(*flags: str, channels: tuple[int, int] = (3, 3), steps: int = 3) -> Path:
        model = make(*flags)
        for seed in range(steps):
            step(model, random_batch(seed, channels=channels))
        model.save_networks("latest")
        if model.opt.ema:
            EMA(model.nets, model.opt.ema).save_networks("latest", model.save_dir)
        return tmp_path / "run"

    return build


@pytest.fixture
def exported(command: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """Export the run; return the command's result."""
    flags = ["--checkpoints_dir", tmp_path, "--name", "run"]
    return lambda *more: command("scripts.export", *flags, *more)


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).uniform(-1, 1, shape).astype(np.float32)


def translated(path: Path, x: np.ndarray) -> np.ndarray:
    (fake,) = session(path).run(None, {"input": x})
    return fake


def equal(path: Path, folder: Path, *flags: str) -> bool:
    """Whether a file translates images of all sizes as the run does, and not to grey."""
    translator = Translator.load(folder, *ON_CPU, *flags)
    graph = session(path)
    for count, height, width in SIZES:
        x = noise(count, 3, height, width)
        (fake,) = graph.run(None, {"input": x})
        wanted = translator.translate(torch.from_numpy(x)).numpy()
        if fake.shape != wanted.shape or np.abs(fake - wanted).max() > 1e-4 or np.ptp(fake) < 0.05:
            return False
    return True


def left(folder: Path) -> set[str]:
    """The files of a folder, but those of the training."""
    return {p.name for p in folder.iterdir() if p.suffix not in (".pth", ".json", ".txt")}


def python_of(card: Path) -> None:
    """Run the Python of a card."""
    (code,) = re.findall(r"```python\n(.*?)```", card.read_text(), re.DOTALL)
    exec(code.replace(f'"{card.stem}.onnx"', repr(str(card.with_suffix(".onnx")))), {})


def run_example(card: Path, size: tuple[int, int] = (50, 41)) -> Image.Image:
    """Translate an image as a card shows it; return what comes out."""
    draw(size).save("input.png")
    python_of(card)
    return Image.open("output.png")


# A graph is the run's generator ------------------------------------------------------------


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param((*UNET, "--norm", "batch"), marks=pytest.mark.slow),
        (*RESNET, "--norm", "instance"),
    ],
)
def test_a_graph_translates_every_size_as_the_run_does(run, exported, caplog, flags):
    folder = run(*flags)
    result = exported()
    assert result.status == 0, result.err
    assert (result.out, result.err) == ("", "")  # no chatter
    path = folder / "latest_net_G.onnx"
    assert caplog.messages[-1] == f"written: {path}"
    assert left(folder) == {"latest_net_G.onnx", "latest_net_G.md"}
    assert equal(path, folder)
    assert not any(node.metadata_props for node in onnx.load(path).graph.node)
    graph = session(path)
    shapes = [value.shape for value in (*graph.get_inputs(), *graph.get_outputs())]
    assert shapes == [["batch", 3, "height", "width"]] * 2
    x = noise(1, 3, 40, 24)
    assert np.array_equal(translated(path, x), translated(path, x))
    assert "per-image statistics" in path.with_suffix(".md").read_text()


@pytest.mark.slow
def test_running_statistics_and_a_card_that_says_what_the_file_is(run, exported):
    folder = run(*UNET, "--upsample", "resize")
    assert exported("--eval", "--opset", "20").status == 0
    path = folder / "latest_net_G.onnx"
    assert equal(path, folder, "--eval") and not equal(path, folder)
    assert onnx.load(path).opset_import[0].version == 20
    card = path.with_suffix(".md").read_text()
    digest = hashlib.sha256((folder / "latest_net_G.pth").read_bytes()).hexdigest()
    for words in (
        *("| run | run |", "| epoch | latest |", "latest_net_G.pth", digest, "| opset | 20 |"),
        "--netG unet_32 --ngf 4 --norm batch --input_nc 3 --output_nc 3 --upsample resize",
        *(
            "any H and W: by reflection to multiples of 32",
            "running statistics of the training (--eval)",
        ),
        *("`input`: float32 (batch, 3, height, width)", "`output`: float32 (batch, 3, height"),
        *("--preprocess resize_and_crop --load_size 64 --crop_size 64", torch.__version__),
        *(onnx.__version__, onnxruntime.__version__, "| 1 | 64 | 64 | ", "| 3 | 9 | 7 | "),
        "dropout | none at test time in this network",
    ):
        assert words in card, words
    assert session(path).get_modelmeta().custom_metadata_map["SHA-256 of the weights"] == digest
    assert run_example(path.with_suffix(".md")).size == (50, 41)


@pytest.mark.slow
def test_each_generator_of_a_cycle_gan_has_its_file(run, exported):
    folder = run(*RESNET, "--model", "cycle_gan", "--dataset_mode", "unaligned")
    x, fakes = noise(2, 3, 24, 20), []
    for name, direction in (("G_A", "AtoB"), ("G_B", "BtoA")):
        assert exported("--direction", direction, "--size", "24,20").status == 0
        path = folder / f"latest_net_{name}.onnx"
        fakes.append(translated(path, x))
        run_of = Translator.load(folder, *ON_CPU, direction=direction)
        assert np.abs(fakes[-1] - run_of.translate(torch.from_numpy(x)).numpy()).max() < 1e-4
        assert session(path).get_inputs()[0].shape == ["batch", 3, 24, 20]
        card = path.with_suffix(".md").read_text()
        assert "fixed for this size" in card and f"{direction}, --model cycle_gan" in card
    assert np.abs(fakes[0] - fakes[1]).max() > 0.01


@pytest.mark.slow
def test_averaged_weights_of_another_epoch_into_another_file(run, exported, tmp_path):
    folder = run(*RESNET, "--ema", "0.5")
    for path in folder.glob("latest_net_*"):
        path.rename(folder / path.name.replace("latest", "7"))
    output = tmp_path / "new" / "deep" / "photo.onnx"
    which = ("--epoch", "7", "--use_ema")
    flags = [*which, "--output", output, "--size", "16"]
    assert exported(*flags).status == 0
    x = noise(1, 3, 16, 16)
    wanted = Translator.load(folder, *ON_CPU, *which).translate(torch.from_numpy(x)).numpy()
    assert np.abs(translated(output, x) - wanted).max() < 1e-4
    assert "7_net_G_ema.pth" in output.with_suffix(".md").read_text()
    assert not list(folder.glob("*.onnx"))


# Images in, images out -----------------------------------------------------------------


def levels_apart(path: Path, folder: Path, images: np.ndarray) -> np.ndarray:
    """How many grey levels a file's images are from the run's."""
    found = translated(path, images)
    wanted = np.stack(Translator.load(folder, *ON_CPU)(list(images)))
    assert found.dtype == wanted.dtype == np.uint8 and np.ptp(found) > 5
    return np.abs(found.astype(int) - wanted.reshape(found.shape))


@pytest.mark.slow
def test_with_processing_images_go_in_and_come_out(run, exported, caplog):
    folder = run(*UNET, "--input_nc", "1", channels=(1, 3))
    assert exported("--processing", "--size", "40,52").status == 0
    path = folder / "latest_net_G.onnx"
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 52, 1), dtype=np.uint8)
    apart = levels_apart(path, folder, images)
    assert apart.max() <= 1 and (apart > 0).mean() < 0.01
    assert re.search(r"overall: [01] grey levels, \S+% of the values", caplog.text)
    card = path.with_suffix(".md")
    assert "`input`: uint8 (batch, 40, 52, 1)" in card.read_text()
    assert run_example(card).size == (52, 40)
    with pytest.raises(Exception, match="Got invalid dimensions"):
        translated(path, images[:, :, :50])


@pytest.mark.parametrize(
    ("flags", "size"), [(RESNET, "44,30"), pytest.param(UNET, "", marks=pytest.mark.slow)]
)
def test_colorization_takes_and_gives_rgb(run, exported, flags, size):
    folder = run(*flags, "--model", "colorization", channels=(1, 2))
    assert exported("--processing", *(["--size", size] if size else [])).status == 0
    path = folder / "latest_net_G.onnx"
    for shape in ((30, 44),) if size else ((30, 44), (64, 32), (5, 3)):
        images = np.stack([np.asarray(draw(shape, seed)) for seed in range(2)])
        apart = levels_apart(path, folder, images)
        assert apart.max() <= 1 and (apart > 0).mean() < 0.01
    card = path.with_suffix(".md")
    assert "RGB in 0..255 to L" in card.read_text()
    assert run_example(card).size == ((30, 44) if size else (50, 41))


@pytest.mark.slow
def test_colorization_without_processing_takes_l_and_gives_ab(run, exported, capfd):
    folder = run(*RESNET, "--model", "colorization", "--norm", "instance", channels=(1, 2))
    assert exported("--size", "64").status == 0
    path = folder / "latest_net_G.onnx"
    x = noise(2, 1, 64, 64)
    wanted = Translator.load(folder, *ON_CPU).translate(torch.from_numpy(x)).numpy()
    assert np.abs(translated(path, x) - wanted).max() < 1e-4 and np.ptp(wanted) > 0.05
    card = path.with_suffix(".md")
    assert "L in, a and b out" in card.read_text()
    assert "`output`: float32 (batch, 2, 64, 64)" in card.read_text()
    python_of(card)
    assert capfd.readouterr().out == "(1, 2, 64, 64)\n"


# Noise -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_dropout_that_is_kept_differs_from_run_to_run(run, exported, caplog):
    folder = run(*RESNET)
    assert exported("--dropout", "--size", "20").status == 0
    path = folder / "latest_net_G.onnx"
    x = noise(1, 3, 20, 20).repeat(2, axis=0)
    graph = session(path)
    one, other = (graph.run(None, {"input": x})[0] for _ in range(2))
    assert not np.array_equal(one, other)
    assert not np.array_equal(one[0], one[1])  # each image has its own
    ops = [node.op_type for node in onnx.load(path).graph.node]
    assert ops.count("RandomUniformLike") == 1
    assert "two runs differ by" in caplog.text
    card = path.with_suffix(".md").read_text()
    assert "new noise at every run" in card and "compared below without noise" in card


def test_the_noise_of_a_graph_is_dropout():
    torch.manual_seed(0)
    x = torch.full((4, 8, 50, 50), 3.0)
    y = Noise(0.25)(x)
    assert set(y.unique().tolist()) == {0.0, 4.0}
    assert abs((y == 0).float().mean().item() - 0.25) < 0.01
    assert not torch.equal(y[0], y[1])


# Nothing is left that is not right ---------------------------------------------------------


def spoilt(model: onnx.ModelProto, how: Callable[[np.ndarray], np.ndarray]) -> onnx.ModelProto:
    """Change the largest weights of a model."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    largest = max(copy.graph.initializer, key=lambda tensor: np.prod(tensor.dims))
    array = how(numpy_helper.to_array(largest).copy())
    largest.CopyFrom(numpy_helper.from_array(array, largest.name))
    return copy


def off_by_a_hundredth(weights: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=weights.shape)
    return weights + (0.01 * weights.std() * noise).astype(np.float32)


@pytest.mark.slow
def test_a_graph_that_differs_is_not_written(run, exported, monkeypatch, tmp_path):
    folder = run(*RESNET)
    output = tmp_path / "good" / "good.onnx"
    assert exported("--output", output, "--size", "16").status == 0
    before, model = left(folder), onnx.load(output)
    other_type = spoilt(model, lambda w: w.astype(np.float64))
    unfit = onnx.ModelProto.FromString(model.SerializeToString())
    unfit.graph.node[0].op_type = "Sine"
    for broken, words, flags in (
        (spoilt(model, lambda w: w[::-1]), "differs from PyTorch by", ["--size", "16"]),
        (spoilt(model, off_by_a_hundredth), "differs from PyTorch by", ["--size", "16"]),
        (spoilt(model, lambda w: w * np.nan), "differs from PyTorch by nan", ["--size", "16"]),
        (model, "--tolerance 1e-09", ["--size", "16"]),
        (other_type, "cannot load the graph", ["--size", "16"]),
        (unfit, "cannot load the graph", ["--size", "16"]),
        (model, "cannot run the graph on", []),
        (model, "--dropout: the graph has no noise", ["--size", "16", "--dropout"]),
    ):
        monkeypatch.setattr(writing, "graph_of", lambda *args, broken=broken: broken)
        tolerance = ["--tolerance", "1e-9"] if "1e-09" in words else []
        result = exported(*flags, *tolerance)
        assert result.status == 2 and words in result.err, result.err
        assert result.err.count("\n") == 1 and "nothing is written" in result.err
        assert left(folder) == before
        result = exported(*flags, *tolerance, "--output", output)
        assert result.status == 2 and left(output.parent) == {"good.onnx", "good.md"}
    assert onnx.load(output) == model


def test_a_break_leaves_nothing(run, exported, monkeypatch):
    folder = run(*RESNET)
    before = left(folder)

    def stop(*args: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    for place, name in ((writing, "graph_of"), (export, "card")):
        monkeypatch.setattr(writing, "graph_of", lambda *args: onnx.ModelProto())
        monkeypatch.setattr(writing.Check, "compare", lambda self, path: [])
        with monkeypatch.context() as patch:
            patch.setattr(place, name, stop)
            assert exported().status == 130
        assert left(folder) == before


def test_a_network_that_torch_cannot_follow_is_said_so(run, exported, monkeypatch):
    class Choosy(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * (2 if x.mean() > 0 else 1)

    def build(input_nc, output_nc, **how):
        return Choosy(input_nc, output_nc, 3, padding=1)

    monkeypatch.setattr(networks, "GENERATORS", {"choosy": build})
    folder = run("--netG", "choosy", steps=0)
    result = exported()
    assert result.status == 2 and "torch.onnx cannot write this network" in result.err
    assert result.err.count("\n") == 1 and left(folder) == set()


def test_any_other_network_is_written_as_it_is(run, exported, monkeypatch):
    def build(input_nc, output_nc, **how):
        layers = [nn.Conv2d(input_nc, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU()]
        return nn.Sequential(*layers, nn.ConvTranspose2d(8, output_nc, 4, 2, 1), nn.Tanh())

    monkeypatch.setattr(networks, "GENERATORS", {"plain": build})
    folder = run("--netG", "plain", "--init_gain", "0.1")
    assert exported().status == 0
    path = folder / "latest_net_G.onnx"
    x = noise(2, 3, 30, 42)
    wanted = Translator.load(folder, *ON_CPU).translate(torch.from_numpy(x)).numpy()
    assert np.abs(translated(path, x) - wanted).max() < 1e-4
    assert "| padding | the network's own, if any |" in path.with_suffix(".md").read_text()


# Refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named(run, exported, monkeypatch, package):
    run(*RESNET, steps=0)
    original = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == package:
            raise ModuleNotFoundError(f"No module named '{name}'")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    result = exported()
    assert result.status == 2 and result.err.count("\n") == 1
    assert package in result.err and "pip install onnx onnxscript onnxruntime" in result.err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--size 0", "--size: '0' must be HEIGHT,WIDTH"),
        ("--size 1,2,3", "--size: '1,2,3' must be HEIGHT,WIDTH"),
        ("--size 256x512", "--size: '256x512' must be HEIGHT,WIDTH, such as 256,512"),
        ("--outptu x.onnx", "--outptu: unknown flag; did you mean --output?"),
        ("--opset 12", "--opset: 12 is out of range: at least 18"),
        ("--opset 99", "--opset 99: onnx"),
        ("--tolerance -1", "--tolerance: -1 is out of range"),
        ("--output a.pth", "--output a.pth: must end in .onnx"),
        ("--tile 64", "--tile: a graph translates the whole image"),
        ("--precision bf16", "--precision: the file is written in fp32"),
        ("--dropout_at_test on", "use --dropout to keep it"),
        ("--dropout --eval", "--dropout: --eval turns dropout off"),
        ("--sise 256", "--sise: unknown flag"),
        ("--lr 1", "--lr: is a flag of train.py"),
        ("--epoch 5", "5_net_G.pth: no such checkpoint"),
        ("--name nobody", "latest_net_G.pth: no such checkpoint"),
    ],
)
def test_wrong_flags_are_told_in_a_line(run, exported, flags, words):
    folder = run(*RESNET, steps=0)
    result = exported(*flags.split())
    assert result.status == 2 and words in result.err, result.err
    assert result.err.count("\n") == 1 and left(folder) == set()


def test_what_a_run_does_not_have_is_refused(run, exported):
    folder = run(*RESNET, "--no_dropout", "--output_nc", "2", steps=0)
    result = exported("--dropout")
    assert result.status == 2 and "--dropout: this generator has none" in result.err
    result = exported("--processing")
    assert result.status == 2 and "this run has --output_nc 2" in result.err
    kept = {"A": {"ending": ".npy", "dtype": "uint16", "low": 0, "high": 4095}}
    (folder / "pixel_ranges.json").write_text(json.dumps(kept))
    result = exported("--processing")
    assert result.status == 2 and "--processing: needs 8 bits a channel" in result.err
    plain = SimpleNamespace(processing=False)
    assert "pixel_ranges.json" in processing(Translator.load(folder, *ON_CPU).opt, plain)


# docs/export.md ----------------------------------------------------------------------------


@pytest.mark.slow
def test_what_the_page_says_runs(command, pairs):
    page = (Path(__file__).resolve().parents[2] / "docs" / "export.md").read_text("utf-8")
    flags = [*TINY, *RESNET, "--dataroot", pairs, "--name", "facades"]
    assert command("train", *flags).status == 0
    lines = re.findall(r"^python -m (scripts\.export .*)$", page, re.MULTILINE)
    assert len(lines) == 3 and "photos_guided" in lines[2]  # of test_export_holes.py
    for line in lines[:2]:
        assert command(*line.split()).status == 0
    draw((70, 50)).save("sketch.png")
    codes = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(codes) == 3
    for code, size in zip(codes, ((256, 256), (70, 50)), strict=False):
        exec(code, {})
        assert Image.open("photo.png").size == size
    table = re.findall(r"^\| `(--\w+)", page, re.MULTILINE)
    of_files = {"--output", "--processing", "--size", "--dropout", "--opset", "--tolerance"}
    assert {*table} == of_files | {"--site"}  # test_static_site.py


# The layers of a graph ---------------------------------------------------------------------


@pytest.mark.parametrize("netG", ["unet_32", "resnet_1block"])
def test_padding_without_branches_is_that_of_the_generator(netG):
    net = define_G(3, 3, 4, netG, "none").eval()
    net.model = nn.Conv2d(3, 3, 5, padding=2)  # any layers: what counts is what they are given
    for height in (*range(1, 13), 31, 32, 33, 64, 65):
        x = torch.from_numpy(noise(1, 3, height, 70 - height))
        assert torch.equal(AnySize(net)(x), net(x)), height


def test_the_copy_leaves_the_network_alone():
    net = define_G(3, 3, 4, "resnet_1block", "batch", use_dropout=True)
    before = [type(module) for module in net.modules()]
    assert not any(isinstance(module, nn.Dropout) for module in frozen_copy(net).modules())
    assert sum(isinstance(m, Noise) for m in frozen_copy(net, noise=True).modules()) == 1
    assert [type(module) for module in net.modules()] == before
    assert all(p.requires_grad for p in net.parameters())
