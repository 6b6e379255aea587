"""Runs of another program, with a table of options beside the weights: what a resume asks for."""

from pathlib import Path

import pytest
from conftest import TINY, draw_pairs


@pytest.fixture
def old(command) -> Path:
    """A run whose folder holds what the other program leaves: weights and train_opt.txt."""
    draw_pairs(Path("data"))
    flags = [*TINY, "--dataroot", "data", "--direction", "BtoA", "--no_html"]
    assert command("train", *flags, "--name", "old").status == 0
    run = Path("checkpoints/old")
    for path in run.iterdir():
        if not path.name.startswith("latest_net_"):
            path.unlink()
    options = {"dataroot": "data", "direction": "BtoA", "model": "pix2pix", "netG": "unet_64"}
    options |= {"ngf": 4, "ndf": 4, "lambda_L1": 10.0, "name": "old"}
    table = "\n".join(f"{name:>25}: {value!s:<30}" for name, value in options.items())
    (run / "train_opt.txt").write_text(f"----- Options -----\n{table}\n----- End -----\n")
    return run


def test_a_forgotten_dataroot_does_not_train_old_weights_on_drawings(command, old: Path) -> None:
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    result = command("train", *TINY, "--name", "old", "--continue_train")
    assert result.status == 2 and result.err.count("\n") == 1
    assert "train_opt.txt says --dataroot data --direction BtoA --netG unet_64" in result.err
    assert "--lambda_L1 10" in result.err  # of the model
    after = {path.name: path.read_bytes() for path in old.iterdir() if path.name != ".lock"}
    assert after == before and not Path("datasets").exists()


def test_weights_alone_are_not_trained_on_drawings(command, old: Path) -> None:
    (old / "train_opt.txt").unlink()
    result = command("train", *TINY, "--name", "old", "--continue_train")
    assert result.status == 2 and "has weights and no saved flags" in result.err
    assert "--dataroot" in result.err and not Path("datasets").exists()


@pytest.mark.parametrize(("direction", "said"), [("AtoB", 1), ("BtoA", 0)])
@pytest.mark.parametrize("start", [["--continue_train"], ["--init_from", "checkpoints/old"]])
def test_another_direction_is_said(command, old, caplog, direction, said, start) -> None:
    name = "old" if start == ["--continue_train"] else "new"
    caplog.clear()
    flags = [*TINY, "--dataroot", "data", "--direction", direction, "--no_html", "--name", name]
    result = command("train", *flags, *start, "--epoch_count", "1")
    assert result.status == 0, result.err
    assert caplog.text.count("are of --direction BtoA") == said
