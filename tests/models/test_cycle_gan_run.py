"""What CycleGAN translates, alone and through the commands: images, files, one-way tests."""

import copy
from pathlib import Path

import pytest
import torch
from conftest import TINY, draw_sets, random_batch, refusal, result_images, step
from torch import Tensor

from models.cycle_gan_model import CycleGANModel
from options.test_options import TestOptions
from training.validation import mean_scores
from util.displays.loss_log import parse_line

CYCLE = ["--model", "cycle_gan", "--netG", "resnet_6blocks"]
ON_CPU = ["--gpu_ids", "-1", "--num_threads", "0"]
THERE, BACK = ("real_A", "fake_B", "rec_A"), ("real_B", "fake_A", "rec_B")


def shown(model: CycleGANModel, batch: dict) -> dict[str, Tensor]:
    model.set_input(batch)
    model.test()
    return model.get_current_visuals()


# Validation and test ---------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_at_test_time_both_sides_or_one_are_translated_and_come_back(make, direction):
    make(*CYCLE, "--direction", direction).save_networks("latest")
    model = make(*CYCLE, "--direction", direction, options=TestOptions)
    source, target = direction[0], direction[-1]
    both, first, second = (
        shown(model, random_batch(names=names)) for names in ("AB", source, target)
    )
    assert list(both) == ["real_A", "fake_B", "rec_A", "real_B", "fake_A", "rec_B"]
    assert list(first) == ["real_A", "fake_B", "rec_A"]
    assert model.get_image_paths() == random_batch()[f"{target}_paths"]
    assert list(second) == ["real_B", "fake_A", "rec_B"]
    assert all(torch.equal(image, both[name]) for name, image in (first | second).items())
    G_A, G_B = model.nets["G_A"], model.nets["G_B"]
    assert model.generator() is G_A
    with torch.no_grad():
        assert torch.equal(both["rec_A"], G_B(G_A(random_batch()[source])))
        assert torch.equal(both["rec_B"], G_A(G_B(random_batch()[target])))


def test_validation_is_the_mean_l1_of_both_cycles_and_leaves_no_trace(make):
    batches = [random_batch(seed) for seed in range(2)]
    model = step(make(*CYCLE, "--norm", "batch"), batches[0])
    before = copy.deepcopy({name: net.state_dict() for name, net in model.nets.items()})
    G_A, G_B = (copy.deepcopy(model.nets[name]) for name in ("G_A", "G_B"))
    loss = mean_scores(model, batches)
    after = {name: net.state_dict() for name, net in model.nets.items()}
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    by_hand = 0
    for A, B in ((batch["A"], batch["B"]) for batch in batches):
        by_hand += (G_B(G_A(A)) - A).abs().mean().item() / 2
        by_hand += (G_A(G_B(B)) - B).abs().mean().item() / 2
    assert loss == {"loss": pytest.approx(by_hand, rel=1e-5)}
    assert mean_scores(model, batches) == loss


# Files -----------------------------------------------------------------------------------


def test_four_files_are_saved_and_load_again(make, tmp_path, caplog):
    (saved := make(*CYCLE)).save_networks("5")
    names = {path.name for path in (tmp_path / "run").glob("*.pth")}
    assert names == {f"5_net_{net}.pth" for net in ("G_A", "G_B", "D_A", "D_B")}
    (tmp_path / "run" / "5_net_D_B.pth").unlink()
    model = make(*CYCLE, "--continue_train", "--epoch", "5", "--init_gain", "0.1")
    for name in ("G_A", "G_B", "D_A"):
        torch.testing.assert_close(model.nets[name].state_dict(), saved.nets[name].state_dict())
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert any(message.startswith("network D_B starts from scratch") for message in warnings)
    (tmp_path / "run" / "5_net_G_B.pth").unlink()
    refusal(lambda: make(*CYCLE, "--continue_train", "--epoch", "5"), "5_net_G_B.pth")


# The commands ----------------------------------------------------------------------------


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """3 images A and 2 images B in each phase."""
    return draw_sets(tmp_path / "sets")


def names(*rows: tuple[list[str], tuple[str, ...]]) -> set[str]:
    return {f"{stem}_{label}.png" for stems, labels in rows for stem in stems for label in labels}


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_a_run_leaves_its_files_and_its_test_all_six_images(command, sets, direction):
    flags = ["--dataroot", sets, "--name", "c", "--direction", direction, "--print_freq", "1"]
    result = command("train", *TINY, *CYCLE, *flags)
    assert result.status == 0, result.err
    assert {path.name for path in Path("checkpoints/c").glob("*.pth")} == {
        *(f"latest_net_{net}.pth" for net in ("G_A", "G_B", "D_A", "D_B")),
        "latest_state.pth",
    }
    lines = map(parse_line, Path("checkpoints/c/loss_log.txt").read_text().splitlines())
    losses = [list(entry.losses) for entry in lines if entry]
    kinds = ("D", "G", "cycle", "idt")
    assert losses == [[f"{kind}_{side}" for side in "AB" for kind in kinds]] * 3
    result = command("test", "--name", "c", *ON_CPU)
    assert result.status == 0, result.err
    stems = ["a0", "a1", "a2"] if direction == "AtoB" else ["b0", "b1", "b0_2"]
    assert set(result_images("c")) == names((stems, THERE + BACK))
    page = Path("results/c/test_latest/index.html").read_text()
    places = [page.index(f"{stems[0]}_{label}.png") for label in THERE + BACK]
    assert places == sorted(places)


@pytest.mark.parametrize("side", "AB")
def test_one_side_alone_is_translated_too(command, sets, side):
    assert command("train", *TINY, *CYCLE, "--dataroot", sets, "--name", "c").status == 0
    other = sets / f"test{'B' if side == 'A' else 'A'}"
    other.rename(sets / "elsewhere")
    result = command("test", "--name", "c", *ON_CPU)
    assert result.status == 0, result.err
    there = names((["a0", "a1", "a2"], THERE)) if side == "A" else names((["b0", "b1"], BACK))
    assert set(result_images("c")) == there


def test_grey_to_colour_and_back(command, sets):
    flags = ["--dataroot", sets, "--name", "c", "--input_nc", "1", "--lambda_identity", "0"]
    assert command("train", *TINY, *CYCLE, *flags).status == 0
    assert command("test", "--name", "c", *ON_CPU).status == 0
    for name, image in result_images("c").items():
        grey = name.endswith(("real_A.png", "fake_A.png", "rec_A.png"))
        assert image.shape == ((64, 64) if grey else (64, 64, 3)), name


def test_stitched_pairs_train_and_test_as_two_sets(command, pairs):
    assert command("train", *TINY, *CYCLE, "--dataroot", pairs, "--name", "c").status == 0
    assert command("test", "--name", "c", *ON_CPU).status == 0
    assert set(result_images("c")) == names((["0", "1", "2"], THERE + BACK))


def test_plateau_reads_both_validation_folders(command, sets):
    flags = [*TINY, *CYCLE, "--dataroot", sets, "--lr_policy", "plateau"]
    assert command("train", *flags).status == 0
    (sets / "valB").rename(sets / "elsewhere")
    result = command("train", *flags)
    assert result.status == 2 and result.err.count("\n") == 1
    assert "--lr_policy plateau" in result.err and "valA/ and valB/" in result.err


def test_unequal_channels_with_the_identity_loss_are_one_line(command, sets):
    result = command("train", *TINY, *CYCLE, "--dataroot", sets, "--input_nc", "1")
    assert result.status == 2 and result.err.count("\n") == 1
    assert "--lambda_identity 0" in result.err
