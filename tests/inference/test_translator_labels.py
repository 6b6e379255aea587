"""translator.py with a run on label maps: files, index maps and tensors in, images out."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import near, refusal, result_images
from PIL import Image
from support.drawing import draw_labels, untrained
from support.label_folders import draw_label_folders
from support.label_maps import HD, SPADE

from translator import Translator

CLASSES = 4


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Label maps of 72×72 with instances."""
    return draw_label_folders(tmp_path_factory.mktemp("labels"), classes=CLASSES)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A run of SPADE on them, at 64×64."""
    return untrained(tmp_path_factory.mktemp("run"), data, *SPADE)


@pytest.fixture(scope="module")
def t(run: Path) -> Translator:
    return Translator.load(run, gpu_ids=-1)


@pytest.fixture(scope="module")
def with_features(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Translator:
    """A run of pix2pixHD with the features of instances."""
    folder = tmp_path_factory.mktemp("features")
    made = untrained(folder, data, *HD, "--instance_feat", "--nef", "2", "--feat_num", "2")
    path = made / "latest_net_features.pth"
    bank = torch.load(path, weights_only=True)
    bank["count"].fill_(9)
    bank["features"] = torch.randn(bank["features"].shape)
    torch.save(bank, path)
    return Translator.load(made, gpu_ids=-1)


def files(data: Path, phase: str = "test", number: int = 0) -> tuple[Path, Path]:
    return data / f"{phase}_label" / f"{number}.png", data / f"{phase}_inst" / f"{number}.png"


def numbers(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_a_file_gives_the_image_that_test_py_writes(run, t, data, command) -> None:
    where = ["--checkpoints_dir", run.parent, "--name", "run", "--dataroot", data]
    result = command("test", *where, "--gpu_ids", "-1", "--num_threads", "0")
    assert result.status == 0, result.err
    written = result_images("run")
    for number in (0, 1):
        labels, instances = files(data, number=number)
        found = t(labels, instances=instances)
        assert isinstance(found, Image.Image) and found.mode == "RGB"
        assert near({"": np.asarray(found)}, {"": written[f"{number}_fake_B.png"]})


def test_every_kind_of_input_gives_its_own_kind(t, data) -> None:
    labels, instances = files(data)
    wanted = np.asarray(t(labels, instances=instances))
    assert np.ptp(wanted) > 20
    image, ids = Image.open(labels), Image.open(instances)
    assert np.array_equal(np.asarray(t(image, instances=ids)), wanted)
    indexed = image.copy()
    indexed.putpalette(list(range(12)))  # mode P: the index counts
    assert indexed.mode == "P" and np.array_equal(t(indexed, instances=ids), wanted)
    for dtype in (np.uint8, np.int64, np.uint16):
        array = t(numbers(labels).astype(dtype), instances=numbers(instances))
        assert isinstance(array, np.ndarray) and np.array_equal(array, wanted)
    tensor = t(t.prepare(labels, instances=instances))
    assert tensor.shape == (3, 64, 64) and tensor.dtype == torch.float32
    assert np.abs((tensor.permute(1, 2, 0).numpy() + 1) * 127.5 - wanted).max() <= 1


def test_a_batch_a_list_and_a_folder_are_translated_one_by_one(t, data) -> None:
    both = [files(data, number=n) for n in (0, 1)]
    alone = [np.asarray(t(labels, instances=ids)) for labels, ids in both]
    labels, ids = ([numbers(path) for path in paths] for paths in zip(*both, strict=True))
    for found in (
        t(list(labels), instances=ids),
        t(np.stack(labels)[..., None], instances=ids),
        list(t(data / "test_label", instances=data / "test_inst").values()),
    ):
        assert near(dict(enumerate(map(np.asarray, found))), dict(enumerate(alone)))


def test_instance_maps_come_one_for_each_image(t, data, monkeypatch) -> None:
    labels, instances = files(data)
    words = f"instances: expected a list, one for each image, got {instances}"
    refusal(lambda: t([labels, labels], instances=instances), words)
    refusal(lambda: t([labels, labels], instances=[instances]), "instances: expected one for each")
    monkeypatch.setattr(t.input, "edges", False)
    words = "this run was trained without instance maps"
    refusal(lambda: t(labels, instances=instances), str(instances), words)


def test_edges_are_those_of_the_classes_unless_there_are_instances(t, data) -> None:
    labels, instances = files(data)
    own, classes = t.prepare(labels, instances=instances), t.prepare(labels)
    assert own.shape == classes.shape == (2, 64, 64)
    assert torch.equal(own[0], classes[0]) and not torch.equal(own[1], classes[1])
    assert set(own[1].unique().tolist()) == {0.0, 1.0}
    assert not np.array_equal(np.asarray(t(labels)), np.asarray(t(labels, instances=instances)))


def test_tensors_are_what_the_generator_takes_floats_or_integers(t, data) -> None:
    labels = t.prepare(files(data)[0])[None]
    wanted = t.translate(labels)
    with t.model.test_mode(["0"]):
        direct = t.model.generator()(labels)
    assert torch.equal(wanted, direct)
    for given in (
        labels.long(),
        labels.byte(),
        labels.double(),
        labels[:, :1],
        labels[:, :1].int(),
    ):
        assert torch.equal(t.translate(given), wanted)
    assert t.translate(labels[..., :33, :50]).shape == (1, 3, 33, 50)  # any size


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (torch.full((2, 1, 8, 8), 4), ["image 0", "class number 4", "classes 0 to 3"]),
        (torch.full((1, 1, 8, 8), -1), ["class number -1"]),
        (torch.full((1, 1, 8, 8), 0.5), ["class number 0.5"]),
        (torch.full((1, 1, 8, 8), float("nan")), ["class number nan"]),
        (torch.full((1, 2, 8, 8), 2), ["image 0", "edges", "0 or 1"]),
        (torch.zeros(1, 3, 8, 8), ["(N, 1 or 2, H, W)", "(1, 3, 8, 8)"]),
        (torch.zeros(8, 8), ["(N, 1 or 2, H, W)", "(8, 8)"]),
        (torch.zeros(0, 1, 8, 8), ["(N, 1 or 2, H, W)"]),
        ("a.png", ["(N, 1 or 2, H, W)", "str"]),
    ],
)
def test_tensors_that_are_no_label_maps_are_refused(t, labels: Any, words: list[str]) -> None:
    refusal(lambda: t.translate(labels), *words)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.full((8, 8), 4), ["image 0", "class number 4", "0 to 3"]),
        (np.full((8, 8), -1), ["class number -1"]),
        (np.zeros((8, 8)), ["integers", "float64 of the shape (8, 8)"]),
        (np.zeros((8, 8, 3), np.uint8), ["RGB", "save it as grey PNG"]),
        (Image.new("RGB", (8, 8)), ["image 0", "RGB", "one channel"]),
        (torch.zeros(8, 8), ["image 0", "(1 or 2, H, W)"]),
    ],
)
def test_other_inputs_that_are_no_label_maps_are_refused(t, labels, words: list[str]) -> None:
    refusal(lambda: t(labels), *words)


def test_a_file_with_other_numbers_is_named(t, tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(tmp_path / "a.png")
    refusal(
        lambda: t(tmp_path / "a.png"),
        "a.png",
        "class number 200",
        "this run has the classes 0 to 3",
    )


def test_instances_must_fit_their_label_map(t, data, tmp_path: Path) -> None:
    labels, ids = files(data)
    small, whole = numbers(ids)[:40], numbers(labels)
    refusal(lambda: t(labels, instances=small), "72x40 pixels", "72x72", "one size")
    refusal(lambda: t(labels, instances=whole / 2), "instances", "integers")
    refusal(lambda: t([whole, whole], instances=[whole]), "one for each image, got 1")
    refusal(lambda: t(torch.zeros(1, 8, 8), instances=whole), "second channel")
    Image.fromarray(whole).save(tmp_path / "0.png")
    words = "instances: no instances for", "test_label/1.png", "add 1.png there"
    refusal(lambda: t(data / "test_label", instances=tmp_path), *words)


def test_weights_alone_have_no_small_sizes(run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(run / "latest_net_G.pth", alone)
    t = Translator.load(alone, gpu_ids=-1)
    assert t(np.zeros((300, 300), np.uint8)).shape == (256, 256, 3)


def test_a_run_on_images_takes_no_instances(tmp_path: Path) -> None:
    other = Translator.load(untrained(tmp_path, draw_labels(tmp_path / "data")), gpu_ids=-1)
    image = np.zeros((64, 64, 3), np.uint8)
    refusal(lambda: other(image, instances=image[..., 0]), "this run translates images")


def test_unknown_pixels_are_255_or_label_nc(tmp_path: Path, data: Path) -> None:
    run = untrained(tmp_path, data, *SPADE, "--contain_dontcare_label", "--no_instance")
    t = Translator.load(run, gpu_ids=-1)
    marked = np.zeros((64, 64), np.uint8)
    marked[:32] = 255
    found = t.prepare(marked)
    assert found.shape == (1, 64, 64) and found.unique().tolist() == [0, CLASSES]
    assert torch.equal(t.prepare(Image.fromarray(marked)), found)
    assert torch.equal(t.prepare(np.where(marked, CLASSES, 0)), found)
    refusal(lambda: t.translate(torch.full((1, 1, 8, 8), 5)), "4 for unknown")


def test_colours_are_read_by_the_palette_of_the_run(tmp_path: Path) -> None:
    run = untrained(tmp_path, draw_labels(tmp_path / "data"), *SPADE)
    t = Translator.load(run, gpu_ids=-1)
    assert len(t.opt.label_colours) == t.opt.label_nc == 4
    colours = [tuple(bytes.fromhex(text[1:])) for text in t.opt.label_colours]
    index = np.random.default_rng(0).integers(0, 4, (64, 64))
    image = np.uint8(colours)[index]
    noisy = (image.astype(int) + np.random.default_rng(1).integers(-9, 9, image.shape)).clip(0, 255)
    for given in (image, noisy.astype(np.uint8), Image.fromarray(image), index):
        assert np.array_equal(t.prepare(given)[0].numpy(), index)
    assert np.array_equal(t(image), t(index))


def test_instances_give_features_under_instance_feat(with_features, data) -> None:
    t, (labels, instances) = with_features, files(data)
    tensor = t.prepare(labels, instances=instances)
    assert tensor.shape == (3, 64, 64) and len(tensor[2].unique()) > CLASSES
    one, other = (np.asarray(t(labels, seed, instances)) for seed in (0, 1))
    assert not np.array_equal(one, other)  # the seed draws the look
    assert np.array_equal(one, np.asarray(t(labels, 0, instances)))
    found = t.translate(tensor[None, :2].long(), seed=0)  # the classes are the instances
    assert torch.equal(found, t.translate(torch.cat([tensor[:2], tensor[:1]])[None], seed=0))


def test_the_instances_of_a_large_map_keep_their_numbers_apart(t) -> None:
    ids = np.arange(64 * 64).reshape(64, 64).astype(np.int64) + 2**40
    edges = t.prepare(np.zeros((64, 64), np.uint8), instances=ids)[1]
    assert (edges == 1).all()


@pytest.mark.parametrize("instances", ["", "inst"])
def test_scripts_translate_takes_label_maps_and_instances(
    run, t, data, command, instances: str
) -> None:
    flags = ["--checkpoints_dir", run.parent, "--name", "run", "--gpu_ids", "-1"]
    flags += ["--instances", data / "test_inst"] if instances else []
    result = command("scripts.translate", *flags, data / "test_label", "out")
    assert result.status == 0, result.err
    labels, ids = files(data, number=1)
    wanted = np.asarray(t(labels, instances=ids if instances else None))
    assert np.array_equal(np.asarray(Image.open("out/1.png")), wanted)


def test_scripts_translate_names_instances_that_do_not_fit(run, data, command) -> None:
    flags = ["--checkpoints_dir", run.parent, "--name", "run", "--gpu_ids", "-1"]
    for given, words in (
        ("nothing", "--instances nothing: no such file or folder"),
        (data / "test_inst/0.png", "must be a file or a folder as IN is"),
        (data / "train_img", "train_img/0.png: is RGB, but an instance map has one channel"),
    ):
        result = command(
            "scripts.translate", *flags, "--instances", given, data / "test_label", "o"
        )
        assert result.status == 2 and words in result.err and result.err.count("\n") == 1


def test_a_pix2pixHD_of_images_takes_images(tmp_path: Path) -> None:
    run = untrained(tmp_path, draw_labels(tmp_path / "data"), *HD, "--dataset_mode", "aligned")
    t = Translator.load(run, gpu_ids=-1)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert t.prepare(image).shape == (3, 64, 64) and t(image).shape == (64, 64, 3)
    for path in run.glob("*opt*"):  # the weights alone
        path.unlink()
    assert np.array_equal(
        Translator.load(run, gpu_ids=-1, crop_size=64, netG="global")(image), t(image)
    )
