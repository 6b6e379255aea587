"""The flags read off the weights of DeepFillv2, and runs of published weights alone."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import refusal, result_images
from support.holes import SMALL, draw_photos, hole_batch, save_mask
from support.recorded import state_dicts

from models.inpaint_networks import InpaintGenerator, SNPatchDiscriminator
from models.networks import define_G
from models.weights import describe_discriminator, describe_generator, differing_flags
from translator import Translator
from util.checkpoint import load_weights

PUBLISHED = {"model": "inpaint", "netG": "inpaint", "cnum": 48, "attention": "contextual"}
CPU = ("--gpu_ids", "-1", "--num_threads", "0")


def on_meta(make: Any, *args: Any, **how: Any) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return make(*args, **how).state_dict()


def test_published_weights_give_back_the_flags_of_their_networks() -> None:
    shapes = state_dicts("inpaint")
    netG, netD = (
        {key: torch.empty(shape, device="meta") for key, shape in of.items()}
        for of in shapes.values()
    )
    assert describe_generator(netG) == PUBLISHED | {"guided": False}
    assert describe_discriminator(netG) == describe_generator(netD) == {}
    assert describe_discriminator(netD) == {"netD": "sn_patch", "ndf": 64, "guided": False}


@pytest.mark.parametrize("attention", ["contextual", "none"])
@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("prefix", ["", "generator."])
def test_the_flags_of_a_generator_come_back(attention, guided, prefix) -> None:
    weights = on_meta(InpaintGenerator, 12, attention, guided)
    found = describe_generator({prefix + key: value for key, value in weights.items()})
    assert found == PUBLISHED | {"cnum": 12, "attention": attention, "guided": guided}
    assert describe_discriminator(on_meta(SNPatchDiscriminator, 4 + guided, 6)) == {
        **{"netD": "sn_patch", "ndf": 6, "guided": guided}
    }


@pytest.mark.parametrize("shape", [(), (3,)])
def test_keys_around_other_shapes_have_no_flags(shape) -> None:
    assert describe_generator({k: torch.zeros(shape) for k in on_meta(InpaintGenerator, 4)}) == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"cnum": 16}, "--cnum 48"),
        ({"attention": "none"}, "--attention contextual"),
        ({"guided": True}, "without --guided"),
        ({"model": "spade", "netG": "spade"}, "--model inpaint --netG inpaint"),
    ],
)
def test_the_flags_in_which_a_generator_differs(changes, said) -> None:
    opt = SimpleNamespace(**{**PUBLISHED, "guided": False, **changes})
    assert differing_flags(on_meta(InpaintGenerator), opt) == said


def test_weights_of_pix2pix_in_a_run_of_inpaint_are_said_to_be_so() -> None:
    opt = SimpleNamespace(**PUBLISHED, guided=False, ngf=64)
    assert "--model pix2pix" in differing_flags(on_meta(define_G, 3, 3, 4, "unet_64"), opt)


def put(run: Path, content: Any) -> Path:
    run.mkdir(exist_ok=True)
    torch.save(content, run / "latest_net_G.pth")
    return run


def both(**flags: Any) -> tuple[InpaintGenerator, dict[str, Any]]:
    """Return a generator, and what a published file holds of it: both networks."""
    torch.manual_seed(0)
    netG = InpaintGenerator(4, **flags)
    netD = SNPatchDiscriminator(4, 4)
    return netG, {"G": netG.state_dict(), "D": netD.state_dict()}


@pytest.mark.parametrize("kind", ["both", "G alone", "bare"])
@pytest.mark.parametrize("attention", ["contextual", "none"])
def test_published_weights_alone_are_tested(command, tmp_path, kind, attention) -> None:
    netG, weights = both(attention=attention)
    if kind != "both":
        weights = {"G": weights["G"]} if kind == "G alone" else weights["G"]
    put(tmp_path / "published", weights)
    data = draw_photos(tmp_path / "data")
    for i in range(3):
        save_mask(data / "test_mask" / f"{i}.png")
    place = ("--checkpoints_dir", tmp_path, "--name", "published", "--dataroot", data)
    result = command("test", *place, *CPU)
    assert result.status == 0, result.err
    images = result_images("published")
    assert images["0_fake_B.png"].shape == (40, 48, 3)
    assert {"0_real_A.png", "1_stage_1.png", "2_real_B.png"} <= images.keys()


def test_the_translator_fills_holes_with_them(tmp_path: Path) -> None:
    netG, weights = both()
    t = Translator.load(put(tmp_path / "run", weights), gpu_ids=-1)
    batch = hole_batch()
    t.model.set_input(batch)
    t.model.test()
    with torch.inference_mode():
        wanted = netG(batch["A"], batch["mask"])[1]
    torch.testing.assert_close(t.model.stage_2, wanted, rtol=0, atol=1e-5)


def test_of_several_state_dicts_the_one_of_the_files_name_is_read(tmp_path: Path) -> None:
    _, weights = both()
    path = put(tmp_path / "run", weights) / "latest_net_G.pth"
    assert load_weights(path).keys() == weights["G"].keys()
    path = path.rename(path.with_name("best_net_D.pth"))
    assert load_weights(path).keys() == weights["D"].keys()
    path = path.rename(path.with_name("weights.pth"))
    refusal(lambda: load_weights(path), "save one of G, D in a file of its own")


def test_a_training_starts_from_published_weights(command, tmp_path: Path) -> None:
    _, weights = both()
    put(tmp_path / "published", weights)
    small = ["--load_size", "36", "--crop_size", "32", "--n_epochs", "1", "--n_epochs_decay", "0"]
    flags = [*CPU, *small, *SMALL, "--batch_size", "2", "--no_html"]
    place = ["--dataroot", draw_photos(tmp_path / "data"), "--init_from", tmp_path / "published"]
    result = command("train", *flags, *place, "--checkpoints_dir", "runs", "--name", "own")
    assert result.status == 0, result.err
    trained = load_weights(Path("runs/own/latest_net_G.pth"))
    moved = max(float((trained[k] - v).abs().max()) for k, v in weights["G"].items())
    assert 0 < moved < 1e-3
    refusal(
        lambda: Translator.load(tmp_path / "published", *SMALL[:2], "--cnum", "8", gpu_ids=-1),
        "it was made with --cnum 4",
    )
