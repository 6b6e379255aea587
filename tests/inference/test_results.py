"""test.py and translator.py: a run's results, and what they depend on."""

import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import TINY, draw, draw_pairs, near, result_images
from PIL import Image

from data import create_dataset
from models import networks
from models.weights import infer_options
from options.test_options import TestOptions
from translator import Translator
from util.util import tensor2im

Command = Callable[..., SimpleNamespace]
TEST = ["--gpu_ids", "-1", "--num_threads", "0"]


@pytest.fixture
def trained(command: Command, pairs: Path) -> Command:
    """A run `r` on `pairs`, B → A, with dropout (unet_64 has one block with it)."""
    flags = ["--dataroot", pairs, "--name", "r", "--direction", "BtoA"]
    assert command("train", *TINY, *flags).status == 0
    return command


def images(run: str = "r", page: str = "test_latest") -> dict[str, np.ndarray]:
    folder = Path("results") / run / page / "images"
    return {p.name: np.asarray(Image.open(p)) for p in sorted(folder.iterdir())}


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_the_name_alone_is_enough(trained: Command) -> None:
    result = trained("test", "--name", "r", *TEST)
    assert result.status == 0, result.err
    names = {f"{i}_{label}.png" for i in range(3) for label in ("real_A", "fake_B", "real_B")}
    assert set(images()) == names
    assert all(image.shape == (64, 64, 3) for image in images().values())
    page = Path("results/r/test_latest/index.html").read_text()
    assert page.count("<img ") == 9
    assert ">--preprocess</span> none" in page and "96×80" in page
    assert json.loads(Path("results/r/test_latest/test_opt.json").read_text())["name"] == "r"


def test_the_page_is_the_last_word(trained: Command, caplog: pytest.LogCaptureFixture) -> None:
    trained("test", "--name", "r", *TEST)
    assert caplog.messages[-1].endswith("results page: results/r/test_latest/index.html")


def test_a_test_logs_how_its_time_was_spent(trained, caplog) -> None:
    assert trained("test", "--name", "r").status == 0
    (line,) = re.findall(r"[0-9.]+ images a second: (.*)", caplog.text)
    shares = [int(share) for share in re.findall(r"(\d+)%", line)]
    assert len(shares) == 3 and 98 <= sum(shares) <= 102  # rounded


def test_real_b_is_the_target_of_the_direction(trained: Command, pairs: Path) -> None:
    trained("test", "--name", "r", *TEST)
    A = Image.open(pairs / "test" / "0.png").crop((0, 0, 96, 80))
    target = np.asarray(A.resize((64, 64), Image.Resampling.BICUBIC), int)
    assert np.abs(images()["0_real_B.png"].astype(int) - target).max() <= 1


def test_none_keeps_the_size_of_every_image(trained: Command) -> None:
    trained("test", "--name", "r", *TEST, "--preprocess", "none")
    assert all(image.shape == (80, 96, 3) for image in images().values())
    assert "files' size" not in Path("results/r/test_latest/index.html").read_text()


def test_a_image_does_not_depend_on_its_company(trained: Command, pairs: Path) -> None:
    trained("test", "--name", "r", *TEST)
    everything = images()
    (pairs / "test" / "0.png").unlink()
    trained("test", "--name", "r", *TEST, "--results_dir", "alone")
    alone = np.asarray(Image.open("alone/r/test_latest/images/1_fake_B.png"))
    assert np.array_equal(alone, everything["1_fake_B.png"])


def test_the_seed_chooses_the_noise_and_eval_has_none(trained: Command) -> None:
    results = {}
    for name, flags in (
        ("a", ["--seed", "0"]),
        ("b", ["--seed", "0"]),
        ("c", ["--seed", "1"]),
        ("d", ["--eval", "--seed", "0"]),
        ("e", ["--eval", "--seed", "1"]),
    ):
        trained("test", "--name", "r", *TEST, *flags)
        results[name] = images()
    assert same(results["a"], results["b"])
    assert not same(results["a"], results["c"])
    assert not same(results["a"], results["d"])
    assert same(results["d"], results["e"])


def test_num_test_phase_epoch_and_aspect_ratio(trained: Command) -> None:
    trained("test", "--name", "r", *TEST, "--num_test", "2", "--aspect_ratio", "1.5")
    assert {name[0] for name in images()} == {"0", "1"}
    assert images()["0_fake_B.png"].shape == (64, 96, 3)
    trained("test", "--name", "r", *TEST, "--phase", "val")
    assert Path("results/r/val_latest/index.html").is_file()
    shape = images()["0_fake_B.png"].shape
    file = Path("checkpoints/r/train_opt.json")  # that of a training's input is none of the results
    file.write_text(json.dumps({**json.loads(file.read_text()), "aspect_ratio": 2.0}))
    trained("test", "--name", "r", *TEST, "--num_test", "1")
    assert images()["0_fake_B.png"].shape == (64, 64, 3) != shape


def test_model_test_translates_a_folder_tree(trained: Command, tmp_path: Path) -> None:
    inputs = tmp_path / "inputs"
    (inputs / "deeper").mkdir(parents=True)
    draw((70, 50)).save(inputs / "a.png")
    draw((50, 70)).save(inputs / "deeper" / "b.jpg")
    draw((50, 70)).save(inputs / "deeper" / "a.png")
    flags = ["--model", "test", "--dataroot", inputs, "--preprocess", "none"]
    result = trained("test", "--name", "r", *TEST, *flags)
    assert result.status == 0, result.err
    sizes = {name: image.shape[:2] for name, image in images().items()}
    assert sizes == {
        **{f"a_{label}.png": (50, 70) for label in ("real", "fake")},
        **{f"a_2_{label}.png": (70, 50) for label in ("real", "fake")},
        **{f"b_{label}.png": (70, 50) for label in ("real", "fake")},
    }


@pytest.mark.parametrize("share", [[], ["--num_shards", "1", "--shard_id", "0"]])
def test_names_that_differ_in_case_do_not_become_one_on_other_disks(trained, tmp_path, share):
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    for seed, name in enumerate(("A.png", "a.png", "b/A.jpg")):
        (inputs / name).parent.mkdir(exist_ok=True)
        draw((64, 64), seed).save(inputs / name)
    flags = ["--model", "test", "--dataroot", inputs, *share]
    assert trained("test", "--name", "r", *TEST, *flags).status == 0
    if share:
        assert trained("test", "--name", "r", *TEST, *flags[:4], "--page_only").status == 0
    assert set(images()) == {
        f"{n}_{label}.png" for n in ("A", "a_2", "A_3") for label in ("real", "fake")
    }
    page = Path("results/r/test_latest/index.html").read_text()
    assert f"a_2 ({inputs / 'a.png'})" in page and page.count("<img ") == 6


def test_model_suffix_chooses_the_file(trained: Command, pairs: Path) -> None:
    run = Path("checkpoints/r")
    (run / "latest_net_G.pth").rename(run / "latest_net_G_A.pth")
    flags = ["--model", "test", "--dataroot", pairs / "test", "--model_suffix", "_A"]
    assert trained("test", "--name", "r", *TEST, *flags).status == 0
    assert trained("test", "--name", "r", *TEST, *flags[:-2]).status == 2


def test_one_channel_is_saved_as_grey(command: Command, pairs: Path) -> None:
    flags = ["--dataroot", pairs, "--name", "g", "--input_nc", "3", "--output_nc", "1"]
    assert command("train", *TINY, *flags).status == 0
    assert command("test", "--name", "g", *TEST).status == 0
    shapes = {name[2:]: image.shape for name, image in images("g").items()}
    assert shapes == {
        **{"real_A.png": (64, 64, 3), "fake_B.png": (64, 64), "real_B.png": (64, 64)},
    }


@pytest.mark.parametrize(
    ("netG", "norm", "use_dropout", "flags"),
    [
        ("unet_64", "instance", False, ["--no_dropout"]),
        ("unet_128", "batch", True, []),
        ("resnet_6blocks", "instance", False, []),
        ("resnet_9blocks", "batch", True, []),
    ],
)
def test_weights_without_options_tell_their_architecture(
    netG: str,
    norm: str,
    use_dropout: bool,
    flags: list[str],
    command: Command,
    pairs: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = Path("checkpoints/bare")
    folder.mkdir(parents=True)
    net = networks.define_G(1, 3, 4, netG, norm, use_dropout)
    torch.save(net.state_dict(), folder / "latest_net_G.pth")
    args = ["--name", "bare", "--dataroot", pairs, "--crop_size", "64", *flags, *TEST]
    result = command("test", *args)
    assert result.status == 0, result.err
    said = [m for m in caplog.messages if "no saved options" in m]
    assert len(said) == 1 and f"--netG {netG} " in said[0] and f"--norm {norm} " in said[0]
    assert images("bare")["0_real_A.png"].shape == (64, 64)


def test_old_instance_norm_statistics_are_dropped(command: Command, pairs: Path) -> None:
    folder = Path("checkpoints/old")
    folder.mkdir(parents=True)
    weights = networks.define_G(3, 3, 4, "unet_64", "instance").state_dict()
    weights["model.model.1.model.2.running_mean"] = torch.zeros(8)
    weights["model.model.1.model.2.running_var"] = torch.ones(8)
    torch.save({f"module.{k}": v for k, v in weights.items()}, folder / "latest_net_G.pth")
    flags = ["--dataroot", pairs, "--crop_size", "64", "--norm", "instance", "--netG", "unet_64"]
    result = command("test", "--name", "old", "--ngf", "4", *flags, *TEST)
    assert result.status == 0, result.err


# translator.py ------------------------------------------------------------------------


def test_translator_gives_the_images_of_the_page(trained: Command) -> None:
    trained("test", "--name", "r", *TEST)
    translator = Translator.load("checkpoints/r", *TEST)
    batches = list(create_dataset(translator.opt))
    real = torch.cat([batch["B"] for batch in batches])
    names = [batch["B_paths"][0] for batch in batches]
    fakes = translator.translate(real, names)
    assert fakes.shape == (3, 3, 64, 64)
    for fake, name in zip(fakes, names, strict=True):
        assert near({"": tensor2im(fake)}, {"": images()[f"{Path(name).stem}_fake_B.png"]})


def test_translator_takes_any_size_and_leaves_the_random_state_alone(trained: Command) -> None:
    translator = Translator.load("checkpoints/r", *TEST)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    assert translator.translate(torch.zeros(2, 3, 37, 71)).shape == (2, 3, 37, 71)
    assert torch.equal(torch.get_rng_state(), state)


def test_translator_errors_are_value_errors(trained: Command) -> None:
    for run in ("checkpoints/nothing", "", None, 5):
        with pytest.raises(ValueError, match="not the folder of a run"):
            Translator.load(run, *TEST)
    for run in ("r", "checkpoints/r/latest_net_G.pth"):
        with pytest.raises(ValueError, match="did you mean .*checkpoints/r[?]"):
            Translator.load(run, *TEST)
    with pytest.raises(ValueError, match="--epocj"):
        Translator.load("checkpoints/r", "--epocj", "5")


@pytest.mark.parametrize(
    "real",
    [torch.zeros(3, 8, 8), torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 8, 8).byte(), "a.png"]
    + [torch.zeros(0, 3, 8, 8)],
    ids=["no batch", "grey", "uint8", "a path", "empty"],
)
def test_translator_says_what_it_expects(real: object, trained: Command) -> None:
    with pytest.raises(ValueError, match="expected"):
        Translator.load("checkpoints/r", *TEST).translate(real)


def test_a_datasets_own_flag_is_carried_over(command: Command, pairs: Path) -> None:
    flags = ["--dataset_mode", "template", "--dataroot", pairs / "train", "--name", "own"]
    assert command("train", *TINY, *flags, "--grey_contrast", "0.3").status == 0
    assert TestOptions().read(["--name", "own"]).grey_contrast == 0.3


def test_infer_options_prefers_the_latest_weights(tmp_path: Path) -> None:
    for tag, ngf in (("5", 4), ("latest", 6)):
        weights = networks.define_G(3, 3, ngf, "unet_64").state_dict()
        torch.save(weights, tmp_path / f"{tag}_net_G.pth")
    assert infer_options(tmp_path)["ngf"] == 6
    assert infer_options(tmp_path / "none") == {}


def test_scripts_can_use_the_names_of_the_field(trained: Command) -> None:
    opt = TestOptions().read(["--name", "r", *TEST])
    model = importlib.import_module("models").create_model(opt)
    model.setup(opt)
    dataset = create_dataset(opt)
    assert len(dataset) == 3
    for batch in dataset:
        model.set_input(batch)
        model.test()
        assert list(model.get_current_visuals()) == ["real_A", "fake_B", "real_B"]
        assert model.get_image_paths() == batch["B_paths"]


def test_pairs_are_left_alone(trained: Command, tmp_path: Path) -> None:
    fresh = draw_pairs(tmp_path / "fresh")
    for path in sorted(fresh.rglob("*.png")):
        twin = tmp_path / "pairs" / path.relative_to(fresh)
        assert twin.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("flags", ["", "--model test --dataroot {pairs}/test"])
def test_results_among_the_images_that_are_translated_are_refused(
    command: Command, pairs: Path, flags: str
) -> None:
    assert command("train", *TINY, "--dataroot", pairs, "--name", "r").status == 0
    where = ["--results_dir", pairs / "test" / "results"]
    result = command("test", "--name", "r", *flags.format(pairs=pairs).split(), *where)
    assert result.status == 2 and "--results_dir" in result.err
    assert not (pairs / "test" / "results").exists()


def test_without_a_run_no_image_is_drawn(command: Command) -> None:
    result = command("test", "--name", "nobody")
    assert result.status == 2 and "latest_net_G.pth: no such checkpoint" in result.err
    assert not Path("datasets").exists()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("flags", [[], ["--netG", "resnet_6blocks"], ["--norm", "instance"]])
def test_a_batch_gives_the_images_that_each_gives_alone(command, pairs, flags, precision):
    draw_pairs(pairs, count=9)
    common = ["--dataroot", pairs, "--name", "r", "--precision", precision, *flags]
    assert command("train", *TINY, *common, "--max_dataset_size", 3).status == 0
    found = {}
    for size in ("1", "4", "8", "9"):  # 8 and one; dropout on
        result = command("test", "--name", "r", *TEST, "--batch_size", size, "--results_dir", size)
        assert result.status == 0, result.err
        found[size] = result_images("r", results=size)
    assert len(found["1"]) == 27 and all(near(found["1"], other) for other in found.values())
    assert np.ptp(found["1"]["0_fake_B.png"]) > 5


def test_num_test_cuts_a_batch_and_a_bad_image_leaves_the_others(command, pairs):
    draw_pairs(pairs, count=6)
    assert command("train", *TINY, "--dataroot", pairs, "--name", "r").status == 0
    (pairs / "test/1.png").write_bytes(b"bad")
    skip = ["--on_bad_image", "skip", "--batch_size", 4, "--num_test", 4]
    assert command("test", "--name", "r", *TEST, *skip).status == 0
    fakes = [name for name in result_images("r") if "fake" in name]
    assert fakes == [f"{i}_fake_B.png" for i in (0, 2, 3, 4)]


def test_images_of_several_sizes_cannot_share_a_batch(command, pairs):
    draw((80, 30)).save(pairs / "test/1.png")
    assert command("train", *TINY, "--dataroot", pairs, "--name", "r").status == 0
    keep = ["test", "--name", "r", *TEST, "--preprocess", "none"]
    assert command(*keep).status == 0
    result = command(*keep, "--batch_size", 2)
    assert result.status == 2 and "use --batch_size 1" in result.err


def test_a_image_that_cannot_be_written_ends_the_test(command, pairs):
    assert command("train", *TINY, "--dataroot", pairs, "--name", "r").status == 0
    Path("results/r/test_latest/images/2_fake_B.png").mkdir(parents=True)
    result = command("test", "--name", "r", *TEST)
    assert result.status == 2 and "2_fake_B.png" in result.err


def test_a_run_with_images_of_its_own_is_not_tested_on_the_built_in_ones(command, pairs) -> None:
    flags = [*TINY, "--dataroot", pairs, "--name", "r", "--no_html"]
    assert command("train", *flags).status == 0
    result = command("test", "--name", "r", "--gpu_ids", "-1", "--model", "test")
    assert result.status == 2
    assert "--model test: needs --dataroot, the folder of the images" in result.err
    assert not Path("results").exists()
    folder = ["--dataroot", Path(pairs) / "test"]
    assert command("test", "--name", "r", "--gpu_ids", "-1", "--model", "test", *folder).status == 0


def test_the_other_direction_of_a_pix2pix_run_is_said(command, pairs, caplog) -> None:
    flags = [*TINY, "--dataroot", pairs, "--name", "r", "--no_html", "--direction", "BtoA"]
    assert command("train", *flags).status == 0
    for direction, said in (("BtoA", 0), ("AtoB", 1)):
        caplog.clear()
        test = ["--name", "r", "--gpu_ids", "-1", "--direction", direction]
        assert command("test", *test).status == 0
        assert caplog.text.count("the run was trained BtoA") == said


def test_model_test_translates_the_side_of_the_direction(command, pairs) -> None:
    flags = [*TINY, "--dataroot", pairs, "--direction", "BtoA", "--no_html", "--no_dropout"]
    assert command("train", *flags, "--name", "back").status == 0
    place = ["--name", "back", "--gpu_ids", "-1", "--num_threads", "0"]
    assert command("test", *place).status == 0
    paired = ["--model", "test", "--dataset_mode", "aligned", "--dataroot", pairs]
    assert command("test", *place, *paired).status == 0
    images = Path("results/back/test_latest/images")
    for name in ("fake", "real"):
        wanted = np.asarray(Image.open(images / f"0_{name}_{'B' if name == 'fake' else 'A'}.png"))
        assert np.array_equal(Image.open(images / f"0_{name}.png"), wanted)
