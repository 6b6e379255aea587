"""translator.py: a run as a Python object. (Its weights and options: test_test.py.)"""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import draw, draw_pairs, draw_sets, near, refusal, result_images
from PIL import Image
from support.drawing import untrained

from data.files.high_depth_output import png_of
from translator import Translator


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with dropout and batch norm, on images of 96×80 that become 64×64."""
    root = tmp_path_factory.mktemp("run")
    return untrained(root, draw_pairs(root / "pairs"))


@pytest.fixture(scope="module")
def t(run: Path) -> Translator:
    return Translator.load(run, gpu_ids=-1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of inputs, one of them below another folder."""
    (tmp_path / "inputs/more").mkdir(parents=True)
    for i, name in enumerate(("a.png", "b.jpg", "more/c.png")):
        draw((70 + i, 50), i).save(tmp_path / "inputs" / name)
    return tmp_path / "inputs"


def same(one: Image.Image | np.ndarray, other: Image.Image | np.ndarray) -> bool:
    return near({"": np.asarray(one)}, {"": np.asarray(other)})


# What goes in and what comes out ----------------------------------------------------------


def test_a_file_gives_the_image_that_test_py_writes(run, t, command, folder):
    flags = ["--checkpoints_dir", run.parent, "--name", "run", "--gpu_ids", "-1"]
    result = command("test", *flags, "--model", "test", "--dataroot", folder, "--seed", 4)
    assert result.status == 0, result.err
    written = result_images("run")
    found = t(folder, seed=4)
    assert [Path(path).name for path in found] == ["a.png", "b.jpg", "c.png"]
    for path, image in found.items():
        assert isinstance(image, Image.Image) and image.mode == "RGB"
        assert same(image, written[f"{Path(path).stem}_fake.png"])
        assert image.tobytes() == t(path, seed=4).tobytes() == t(Path(path), seed=4).tobytes()


def test_every_kind_of_input_gives_its_own_kind(t):
    image = draw((64, 64), 1)
    array = np.asarray(image)
    tensor = torch.from_numpy(array / np.float32(127.5) - 1).permute(2, 0, 1)
    wanted = np.asarray(t(image))
    assert wanted.shape == (64, 64, 3) and np.ptp(wanted) > 20
    found = t(array)
    assert isinstance(found, np.ndarray) and found.dtype == np.uint8 and same(found, wanted)
    found = t(tensor)
    assert found.shape == (3, 64, 64) and found.dtype == torch.float32
    assert same((found.permute(1, 2, 0).numpy() + 1) * 127.5, wanted)
    assert t(tensor[None]).shape == (1, 3, 64, 64) and t(array[None]).shape == (1, 64, 64, 3)
    assert same(t(array[None])[0], wanted)
    assert torch.equal(t.prepare(image), t.prepare(array))
    assert (t.prepare(image) - tensor).abs().max() < 1e-6


def test_a_list_may_mix_kinds_and_sizes(t, folder):
    grey, rgba = draw((50, 60), 3).convert("L"), draw((40, 40), 4).convert("RGBA")
    mixed = [
        folder / "a.png",
        grey,
        np.asarray(rgba),
        torch.zeros(3, 37, 71),
        str(folder / "b.jpg"),
    ]
    found = t(mixed)
    kinds = [type(image) for image in found]
    assert kinds == [Image.Image, Image.Image, np.ndarray, torch.Tensor, Image.Image]
    assert found[3].shape == (3, 37, 71)
    assert same(found[0], t(folder / "a.png")) and found[1].mode == "RGB"
    assert list(map(len, (t([]), t(tuple(mixed[:2]))))) == [0, 2]
    iterator = t.each(iter(mixed))
    assert same(next(iterator), found[0]) and same(next(iterator), found[1])


def test_a_list_is_translated_in_batches_and_read_as_it_is_asked_for(run):
    t, sizes, read = Translator.load(run, gpu_ids=-1, batch_size=3), [], []
    t.model.generator().register_forward_pre_hook(lambda net, args: sizes.append(len(args[0])))

    def images():
        for i in range(8):
            read.append(i)
            yield draw((64, 64), i)

    found = t.each(images())
    next(found)
    assert sizes == [3] and len(read) == 4
    assert len(list(found)) == 7 and sizes == [3, 3, 2]


def test_a_phone_photo_is_turned_upright(t, tmp_path):
    photo = draw((96, 60), 2)
    exif = photo.getexif()
    exif[0x0112] = 6
    photo.save(tmp_path / "photo.jpg", exif=exif, quality=100)
    upright = photo.transpose(Image.Transpose.ROTATE_270)
    with Image.open(tmp_path / "photo.jpg") as opened:
        assert torch.equal(t.prepare(opened), t.prepare(tmp_path / "photo.jpg"))
    assert (t.prepare(upright) - t.prepare(tmp_path / "photo.jpg")).abs().mean() < 0.03


@pytest.mark.parametrize(
    ("preprocess", "size", "wanted"),
    [
        ("none", (37, 71), (37, 71)),
        ("resize_and_crop", (37, 71), (64, 64)),
        ("scale_width", (96, 192), (64, 128)),
        ("scale_width_and_crop", (96, 192), (64, 64)),
        ("crop", (80, 70), (64, 64)),
    ],
)
def test_images_are_prepared_as_the_run_says_and_cropped_in_the_middle(
    run, preprocess, size, wanted
):
    t, image = Translator.load(run, gpu_ids=-1, preprocess=preprocess), draw(size, 6)
    assert t(image).size == wanted
    if preprocess == "crop":
        middle = image.crop((8, 3, 72, 67))
        assert torch.equal(t.prepare(image), t.prepare(middle))
        refusal(lambda: t(draw((60, 90))), "60x90", "--crop_size")


# Noise ----------------------------------------------------------------------------------


def test_the_seed_and_the_name_choose_the_noise(t, folder):
    a = folder / "a.png"
    (folder / "other").mkdir()
    same_name, other_name = folder / "other/a.png", folder / "other/z.png"
    for path in (same_name, other_name):
        path.write_bytes(a.read_bytes())
    first, again, other = (t(a, seed=seed).tobytes() for seed in (3, 3, 4))
    assert first == again != other
    assert t(a).tobytes() == t(a, seed=0).tobytes()
    assert t(same_name, seed=3).tobytes() == first != t(other_name, seed=3).tobytes()
    image = Image.open(a)
    assert same(t([image, image], seed=3)[0], t(image, seed=3))
    assert not same(*t([image, image], seed=3))


def test_a_seed_leaves_the_global_generators_alone(t):
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    t(draw((64, 64)), seed=8)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


@pytest.mark.parametrize("options", [{}, {"eval": True}, {"tile": 128, "preprocess": "none"}])
def test_threads_share_a_translator(run, options):
    t = Translator.load(run, gpu_ids=-1, **options)
    jobs = [(draw((100 + 40 * (i % 3), 90), i), i) for i in range(12)]
    wanted = [t(image, seed=seed).tobytes() for image, seed in jobs]
    statistics = [buffer.clone() for buffer in t.model.generator().buffers()]
    found: dict[int, bytes] = {}

    def work(start: int) -> None:
        for i in range(start, len(jobs), 4):
            found[i] = t(jobs[i][0], seed=jobs[i][1]).tobytes()

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(len(jobs))] == wanted
    for buffer, before in zip(t.model.generator().buffers(), statistics, strict=True):
        assert torch.equal(buffer, before)


def test_gradients_may_flow_through_what_comes_out(t):
    fake = t(torch.zeros(1, 3, 64, 64))
    scale = torch.ones(1, requires_grad=True)
    (fake * scale).sum().backward()
    assert scale.grad is not None and not fake.requires_grad


# Other runs -------------------------------------------------------------------------------


def test_grey_outputs_are_grey_images(tmp_path, pairs):
    t = Translator.load(untrained(tmp_path, pairs, "--output_nc", "1", "--input_nc", "1"))
    assert t(draw((30, 30))).mode == "L" and t(np.zeros((30, 30), np.uint8)).shape == (64, 64, 1)


def test_colorization_gives_colours_to_any_image(tmp_path, command):
    (tmp_path / "photos/train").mkdir(parents=True)
    (tmp_path / "photos/test").mkdir()
    for phase in ("train", "test"):
        draw((80, 70), 3).save(tmp_path / f"photos/{phase}/1.png")
    run = untrained(tmp_path, tmp_path / "photos", "--model", "colorization")
    flags = ["--checkpoints_dir", run.parent, "--name", "run", "--gpu_ids", "-1"]
    assert command("test", *flags).status == 0
    t = Translator.load(run, gpu_ids=-1)
    found = t(tmp_path / "photos/test/1.png")
    assert same(found, result_images("run")["1_fake_B_rgb.png"]) and found.mode == "RGB"
    assert t.translate(t.prepare(found)[None]).shape == (1, 2, 64, 64)


def test_a_cyclegan_goes_both_ways(tmp_path, command):
    sets = draw_sets(tmp_path / "sets")
    run = untrained(tmp_path, sets, "--model", "cycle_gan", "--netG", "resnet_6blocks")
    flags = ["--checkpoints_dir", run.parent, "--name", "run", "--gpu_ids", "-1"]
    assert command("test", *flags).status == 0
    written = result_images("run")
    there = Translator.load(run, gpu_ids=-1)(sets / "testA/a0.png")
    back = Translator.load(run, gpu_ids=-1, direction="BtoA")(sets / "testB/b0.png")
    assert same(there, written["a0_fake_B.png"]) and same(back, written["a0_fake_A.png"])


def test_deep_images_come_back_in_the_values_of_their_files(tmp_path):
    """Of runs whose targets are 16-bit PNG files, whatever goes in."""
    rng = np.random.default_rng(0)
    for phase in ("trainA", "trainB"):
        (tmp_path / "deep" / phase).mkdir(parents=True)
        for i in range(2):
            array = rng.integers(0, 4096, (64, 64, 1)).astype(np.uint16)
            (tmp_path / "deep" / phase / f"{i}.png").write_bytes(png_of(array))
    run = untrained(tmp_path, tmp_path / "deep", "--input_nc", "1", "--output_nc", "1")
    ranges = '{"ending": ".png", "dtype": "uint16", "low": 0.0, "high": 4095.0}'
    (run / "pixel_ranges.json").write_text(f'{{"A": {ranges}, "B": {ranges}}}')
    t, path = Translator.load(run, gpu_ids=-1), tmp_path / "deep/trainA/0.png"
    found = t(path)
    assert found.shape == (64, 64, 1) and found.dtype == np.uint16 and 500 < found.max() <= 4095
    values = np.asarray(Image.open(path))
    assert np.array_equal(t(values, seed=0).shape, found.shape)
    assert torch.equal(t.prepare(values.astype(np.uint16)), t.prepare(path))
    assert torch.equal(t.prepare(values.astype(np.float32)), t.prepare(path))
    assert torch.equal(t.prepare(Image.open(path)), t.prepare(path))
    assert torch.equal(t.prepare(values.astype(">u2")), t.prepare(path))
    signed = ranges.replace("0.0", "-1000.0")
    (run / "pixel_ranges.json").write_text(f'{{"A": {signed}, "B": {ranges}}}')
    t, below = Translator.load(run, gpu_ids=-1), values.astype(np.int32) - 1000
    assert torch.equal(t.prepare(Image.fromarray(below)), t.prepare(below))
    assert t.prepare(below).min() < -0.9


# Mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("nowhere.png", ["nowhere.png"]),
        (None, ["NoneType"]),
        ({"a": 1}, ["dict"]),
        (np.zeros((3, 64), bool), ["uint8, uint16 or floats", "bool"]),
        (np.zeros((0, 64), np.uint8), ["(0, 64)"]),
        (np.zeros((4, 5, 7), np.uint8), ["7 channels", "--input_nc"]),
        (torch.zeros(64, 64), ["(3, H, W)", "(64, 64)"]),
        (np.zeros((3, 64, 64), np.uint8), ["(3, 64, 64)", "(H, W, C)"]),
        (np.zeros((9, 9, 3), np.int64), ["int64", "uint8, uint16 or floats"]),
        (np.full((9, 9, 3), 255.0), ["0..1", "255"]),
        (np.full((9, 9, 3), -0.5), ["0..1", "-0.5"]),
        (np.full((9, 9, 3), np.nan), ["finite"]),
        (Image.new("RGB", (0, 0)), ["no pixels"]),
        ([draw((9, 9)), np.zeros((9, 9, 5), np.uint8)], ["image 1: ", "5 channels"]),
        ([draw((9, 9)), 5], ["image 1: ", "int"]),
        (torch.zeros(1, 64, 64), ["(3, H, W)", "(1, 64, 64)"]),
        (torch.full((3, 64, 64), 255.0), ["image 0: ", "[-1, 1]", "255"]),
        (torch.full((3, 64, 64), torch.nan), ["image 0: ", "nan"]),
        (torch.zeros(3, 0, 0), ["at least one pixel"]),
        (torch.zeros(3, 64, 64).byte(), ["floats", "uint8"]),
        (torch.zeros(0, 3, 64, 64), ["at least one image"]),
        (np.zeros((0, 9, 9, 3), np.uint8), ["at least one image"]),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else "",
)
def test_what_cannot_be_translated_is_said(t, source, words):
    refusal(lambda: t(source), *words)


@pytest.mark.parametrize("seed", [-1, 1.5, "a", [1]])
def test_a_seed_is_a_whole_number(t, seed):
    refusal(lambda: t(draw((64, 64)), seed=seed), "seed", "whole number")


def test_one_file_is_no_list_of_files(t, tmp_path):
    draw((64, 64)).save(tmp_path / "a.png")
    refusal(lambda: list(t.each(str(tmp_path / "a.png"))), "a.png", "several images")


def test_a_broken_file_is_named_once(t, tmp_path):
    (tmp_path / "a.png").write_text("milk")
    with pytest.raises(ValueError) as error:
        t(tmp_path / "a.png")
    assert str(error.value).count("a.png") == 1
    refusal(lambda: t(tmp_path / "empty"), "empty")
    (tmp_path / "empty").mkdir()
    refusal(lambda: t(tmp_path / "empty"), "holds no images")


def test_options_are_checked_like_flags(run):
    refusal(lambda: Translator.load(run, epocj="best"), "--epocj", "--epoch")
    refusal(lambda: Translator.load(run, epoch="7"), "7_net_G.pth", "--epoch")
    refusal(lambda: Translator.load(run, tile="many"), "--tile")
    refusal(lambda: Translator.load(run, tile=0), "--tile", "at least 1")
    refusal(lambda: Translator.load(run, eval="yes"), "--eval", "takes no value")
    assert Translator.load(run, gpu_ids=-1, tile=128, overlap=0).opt.overlap == 0
    assert Translator.load(run, eval=False, tile=None, gpu_ids=[]).opt.tile is None


def test_the_options_of_a_script_do_not_matter(run, monkeypatch):
    monkeypatch.setattr("sys.argv", ["server.py", "--port", "80"])
    load: Callable = Translator.load
    assert load(run, gpu_ids=-1).opt.name == "run"
