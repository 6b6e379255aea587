"""The flags read off the weights of SPADE and pix2pixHD, and runs of published weights alone."""

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import refusal, result_images
from support.label_folders import draw_coloured, draw_label_folders
from support.recorded import state_dicts
from torch import nn

from models import pix2pixHD_networks, spade_networks
from models.instance_features import InstanceEncoder
from models.label_weights import describe_encoder
from models.networks import define_G
from models.pix2pixHD_networks import GlobalGenerator, LocalEnhancer
from models.spade_networks import ImageEncoder, SPADEGenerator
from models.weights import describe_discriminator, describe_generator, differing_flags
from translator import Translator, run_options
from util.label_maps import LabelChannels, split_channels

SPADE = {"model": "spade", "netG": "spade", "ngf": 64, "output_nc": 3, "use_vae": False}
SPADE |= {"num_upsampling_layers": "normal", "norm_G": "spectralspadesyncbatch3x3"}
HD = {"model": "pix2pixHD", "output_nc": 3, "semantic_nc": 36, "norm": "instance"}
HD |= {"netG": "global", "ngf": 64, "n_downsample_global": 4, "n_blocks_global": 9}
LOCAL = {"netG": "local", "ngf": 32, "n_local_enhancers": 1, "n_blocks_local": 3}
VAE = {"use_vae": True, "z_dim": 256, "crop_size": 256, "aspect_ratio": 1.0}
PUBLISHED = {
    "G coco": SPADE | {"semantic_nc": 184},
    "G ade20k": SPADE | {"semantic_nc": 151},
    "G cityscapes": SPADE | {"semantic_nc": 36},
    "G facades": SPADE | {"semantic_nc": 13, "num_upsampling_layers": "most"} | VAE,
    "G global (": HD,
    "G local": HD | LOCAL,
    "G global batch norm": HD | {"norm": "batch"},
    "D coco": {"ndf": 64, "n_layers_D": 4, "num_D": 2, "norm_D": "spectralinstance"},
    "D ade20k": {"ndf": 64, "n_layers_D": 4, "num_D": 2, "norm_D": "spectralinstance"},
    "D 2 scales, 3 layers, features": {"ndf": 64, "n_layers_D": 3, "num_D": 2},
    "D 3 scales, 3 layers, features": {"ndf": 64, "n_layers_D": 3, "num_D": 3},
    "E crop 256": {"ngf": 64, "z_dim": 256},
    "E encoder": {"feat_num": 3, "nef": 16, "n_downsample_E": 4},
}


def described(weights: dict[str, Any]) -> dict[str, Any]:
    return describe_generator(weights) or describe_discriminator(weights)


def on_meta(make: Any) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return make().state_dict()


@pytest.mark.parametrize("start", PUBLISHED)
def test_published_weights_give_back_the_flags_of_their_networks(start: str) -> None:
    shapes = {**state_dicts("spade"), **state_dicts("pix2pixHD")}
    shapes = next(of for name, of in shapes.items() if name.startswith(start))
    weights = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    if start.startswith("E"):
        assert describe_encoder(weights) == PUBLISHED[start]
        return
    wanted = dict(PUBLISHED[start])
    if start.startswith("D"):
        wanted = {"netD": "multiscale", "norm_D": "instance", **wanted}
    assert described(weights) == wanted


@pytest.mark.parametrize("norm", ["sync_batch", "instance"])
@pytest.mark.parametrize("upsampling", ["normal", "most"])
@pytest.mark.parametrize(("kernel", "spectral"), [(1, False), (5, True)])
def test_the_flags_of_a_spade_come_back(norm, upsampling, kernel, spectral) -> None:
    make = partial(SPADEGenerator, 9, 1, 3, upsampling, norm, kernel, spectral)
    found = describe_generator(on_meta(make))
    kind = norm.replace("_", "")
    assert found["norm_G"] == f"{'spectral' * spectral}spade{kind}{kernel}x{kernel}"
    assert (found["ngf"], found["output_nc"], found["semantic_nc"]) == (3, 1, 9)
    assert found["num_upsampling_layers"] == upsampling


@pytest.mark.parametrize("first_size", [(2, 2), (4, 8), (3, 4), (1, 1), (5, 7)])
def test_a_vae_gives_back_the_pixels_of_its_first_map(first_size: tuple[int, int]) -> None:
    make = partial(SPADEGenerator, 5, ngf=2, use_vae=True, z_dim=7, first_size=first_size)
    found = describe_generator(on_meta(make))
    width = found["crop_size"] // 32
    assert width * round(width / found["aspect_ratio"]) == first_size[0] * first_size[1]
    assert found["z_dim"] == 7


@pytest.mark.parametrize(("downs", "blocks"), [(1, 1), (3, 2), (4, 9)])
@pytest.mark.parametrize("enhancers", [0, 1, 2])
def test_the_flags_of_a_pix2pixHD_come_back(downs: int, blocks: int, enhancers: int) -> None:
    sizes, local = {"n_downs": downs, "n_blocks": blocks}, {}
    make = partial(GlobalGenerator, 5, ngf=2, **sizes)
    if enhancers:
        local = {"n_local_enhancers": enhancers, "n_blocks_local": 2}
        make = partial(LocalEnhancer, 5, 3, 2, downs, blocks, enhancers, 2)
    found = describe_generator(on_meta(make))
    wanted = {"n_downsample_global": downs, "n_blocks_global": blocks, "ngf": 2, "semantic_nc": 5}
    assert wanted.items() <= found.items() and local.items() <= found.items()
    assert found["netG"] == ("local" if enhancers else "global")


def test_a_generator_with_two_halvings_is_pix2pixHDs_only_where_that_is_known() -> None:
    weights = on_meta(partial(GlobalGenerator, 3, ngf=2, n_downs=2, n_blocks=6))
    assert describe_generator(weights)["netG"] == "resnet_6blocks"
    found = describe_generator(weights, "pix2pixHD")
    assert (found["netG"], found["n_downsample_global"]) == ("global", 2)


@pytest.mark.parametrize("norm_D", ["spectralbatch", "spectralinstance", "instance", "batch"])
@pytest.mark.parametrize("package", [spade_networks, pix2pixHD_networks])
def test_the_flags_of_their_discriminators_come_back(package: Any, norm_D: str) -> None:
    norm = {"batch": nn.BatchNorm2d, "instance": package.InstanceNorm}
    how = {"norm_layer": norm[norm_D.removeprefix("spectral")], "spectral": "spectral" in norm_D}
    weights = on_meta(partial(package.MultiscaleDiscriminator, 5, 4, 2, 3, **how))
    wanted = {"netD": "multiscale", "ndf": 4, "n_layers_D": 2, "num_D": 3, "norm_D": norm_D}
    assert describe_discriminator(weights) == wanted
    assert describe_generator(weights) == {}


@pytest.mark.parametrize("make", [ImageEncoder, InstanceEncoder])
def test_an_encoder_is_neither_generator_nor_discriminator(make: Any) -> None:
    assert described(on_meta(make)) == {}


@pytest.mark.parametrize(
    "make", [partial(SPADEGenerator, 9, ngf=2), partial(GlobalGenerator, 9, ngf=2)]
)
def test_a_generators_keys_around_other_shapes_have_no_flags(make: Any) -> None:
    for shape in ((), (3,)):
        assert described({key: torch.zeros(shape) for key in on_meta(make)}) == {}


@pytest.mark.parametrize(
    ("count", "flags", "wanted"),
    [
        (184, {}, (182, True, False)),
        (151, {}, (150, True, True)),
        (36, {}, (35, False, False)),
        (36, {"instances": False}, (35, False, False)),  # the edges are those of the classes
        (36, {"no_instance": True}, (36, False, True)),
        (36, {"label_nc": 34}, (34, True, False)),
        (151, {"label_nc": 151}, (151, False, True)),
        (13, {}, (12, False, False)),
        (13, {"instances": False}, (13, False, True)),
        (13, {"label_nc": 12, "instances": False}, (12, False, False)),
        (13, {"label_nc": 12, "no_instance": True}, (12, True, True)),
        (13, {"dontcare": True}, (11, True, False)),
    ],
)
def test_channels_are_split_as_known_or_as_the_flags_say(count, flags, wanted) -> None:
    assert split_channels(count, **flags) == LabelChannels(*wanted)


def test_flags_that_leave_no_way_to_split_the_channels_give_none() -> None:
    assert split_channels(13, 9) is None and split_channels(13, 14) is None


def spade_options(**changes: Any) -> SimpleNamespace:
    flags = SPADE | {"label_nc": 182, "contain_dontcare_label": True, "no_instance": False}
    return SimpleNamespace(**{**flags, "crop_size": 256, "aspect_ratio": 1.0, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"num_upsampling_layers": "more"}, ""),  # which has the same shapes
        ({"num_upsampling_layers": "most"}, "--num_upsampling_layers normal"),
        ({"norm_G": "spectralspadebatch3x3"}, ""),
        ({"norm_G": "spadeinstance3x3"}, "--norm_G spectralspadesyncbatch3x3"),
        ({"label_nc": 40}, "--label_nc 182"),
        ({"no_instance": True}, "without --no_instance"),
        (
            {"contain_dontcare_label": False, "label_nc": 9},
            "--label_nc 182 --contain_dontcare_label",
        ),
        ({"label_nc": 183}, "--label_nc 182"),  # and not: without --contain_dontcare_label
        ({"use_vae": True}, "without --use_vae"),
        ({"ngf": 8, "model": "pix2pixHD"}, "--model spade --ngf 64"),
    ],
)
def test_the_flags_in_which_a_spade_differs(changes: dict[str, Any], said: str) -> None:
    weights = on_meta(partial(SPADEGenerator, 184))
    assert differing_flags(weights, spade_options(**changes)) == said


def test_flags_of_which_the_channels_do_not_tell_are_alternatives() -> None:
    weights = on_meta(partial(SPADEGenerator, 40))
    said = differing_flags(weights, spade_options(label_nc=39))
    assert said == "without --contain_dontcare_label or --label_nc 38"


@pytest.mark.parametrize(("ngf", "said"), [(32, ""), (64, "--ngf 32"), (16, "--ngf 32")])
def test_a_global_generator_is_within_enhancers_of_half_its_width(ngf: int, said: str) -> None:
    opt = SimpleNamespace(
        **{"model": "pix2pixHD", "netG": "local", "ngf": ngf, "isTrain": True, "input_nc": 36},
        **{"n_local_enhancers": 1, "norm": "instance", "n_downsample_global": 4},
        **{"n_blocks_global": 9, "output_nc": 3, "label_nc": 35, "contain_dontcare_label": False},
        no_instance=False,
    )
    assert differing_flags(on_meta(partial(GlobalGenerator, 36)), opt) == said


def test_weights_of_pix2pix_in_a_run_of_spade_are_said_to_be_so() -> None:
    weights = on_meta(partial(define_G, 3, 3, 4, "unet_64"))
    assert differing_flags(weights, spade_options()).startswith("--netG unet_64 --ngf 4")
    assert "--model pix2pix" in differing_flags(weights, spade_options())


def put(folder: Path, net: nn.Module, name: str = "G") -> Path:
    """Write a network's weights into the folder of a run."""
    folder.mkdir(exist_ok=True)
    torch.save(net.state_dict(), folder / f"latest_net_{name}.pth")
    return folder


CPU = ("--gpu_ids", "-1", "--num_threads", "0")
SMALL = {
    "coco": partial(SPADEGenerator, 184, ngf=1),
    "ade20k": partial(SPADEGenerator, 151, ngf=1),
    "cityscapes": partial(SPADEGenerator, 36, ngf=1, upsampling="more"),
    "facades": partial(
        SPADEGenerator, 13, ngf=2, upsampling="most", use_vae=True, first_size=(2, 2)
    ),
    "label2city": partial(GlobalGenerator, 36, ngf=2),
    "label2city_1024p": partial(LocalEnhancer, 36, ngf=2),
}


@pytest.mark.parametrize("name", SMALL)
def test_published_weights_alone_are_tested(
    command: Any, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    torch.manual_seed(0)
    put(tmp_path / name, SMALL[name]())
    data = draw_label_folders(tmp_path / "data", phases=("val",), images=False)
    place = ("--checkpoints_dir", tmp_path, "--name", name, "--dataroot", data)
    more = [] if name == "facades" or "label2city" in name else ["--crop_size", 64]
    result = command("test", *place, *CPU, *more)
    assert result.status == 0, result.err
    assert caplog.text.count("channels of label maps are taken for") == 1
    images = result_images(name)
    sizes = {
        "cityscapes": (32, 64),
        "facades": (256, 256),
        "label2city": (72, 72),
        "label2city_1024p": (72, 72),
    }
    assert images["0_fake_B.png"].shape[:2] == sizes.get(name, (64, 64))
    assert {"0_real_A.png", "1_fake_B.png"} <= images.keys()


def test_published_weights_are_translated_by_the_translator(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = SMALL["cityscapes"]()
    t = Translator.load(put(tmp_path / "city", net), gpu_ids=-1, crop_size=64)
    assert (t.opt.label_nc, t.opt.no_instance, t.opt.aspect_ratio) == (35, False, 2.0)
    assert t.opt.num_upsampling_layers == "more" and t.opt.preprocess == "fixed"
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, 35, (1, 1, 64, 128))).float()
    hot = nn.functional.one_hot(labels[:, 0].long(), 35).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        wanted = net.eval()(torch.cat([hot, torch.zeros(1, 1, 64, 128)], 1))
    found = t.translate(torch.cat([labels, torch.zeros_like(labels)], 1))
    torch.testing.assert_close(found, wanted)


def test_an_encoder_beside_the_weights_gives_the_features_of_instances(tmp_path: Path) -> None:
    run = put(tmp_path / "r", GlobalGenerator(39, ngf=2))
    put(run, InstanceEncoder(nef=4), "E")
    flags = ["--checkpoints_dir", str(tmp_path), "--name", "r", "--dataroot", "-", *CPU]
    opt = run_options(flags)
    assert (opt.instance_feat, opt.feat_num, opt.nef, opt.label_nc) == (True, 3, 4, 35)


def test_weights_with_features_of_instances_say_what_they_need(
    command: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net = GlobalGenerator(39, 3, 2, 2, 1)
    data = draw_label_folders(tmp_path / "data", phases=("test",))
    flags = ("--checkpoints_dir", tmp_path, "--name", "r", "--dataroot", data, *CPU)
    run = put(tmp_path / "r", net)
    assert command("test", *flags).status == 0
    assert "39 channels, 36 of Cityscapes and 3 of features if" in caplog.text
    assert "latest_net_E.pth and " in caplog.text
    put(run, InstanceEncoder(nef=4), "E")
    result = command("test", *flags)
    assert result.status == 2 and "latest_net_features.pth" in result.err
    assert "--use_encoded_image takes the look of instances from images" in caplog.text
    result = command("test", *flags, "--use_encoded_image")
    assert result.status == 0, result.err
    alone = ("--label_dir", data / "test_label", "--use_encoded_image")
    result = command("test", *flags, *alone)
    assert result.status == 2 and "--use_encoded_image: needs an image beside" in result.err
    t = Translator.load(run, gpu_ids=-1, use_encoded_image=True)
    with pytest.raises(ValueError, match="--use_encoded_image: needs an image"):
        t(np.zeros((16, 16), np.uint8))


def test_weights_alone_are_not_tested_on_images_of_other_classes(command, tmp_path, caplog) -> None:
    put(tmp_path / "r", SPADEGenerator(20, ngf=1))
    flags = ("--checkpoints_dir", tmp_path, "--name", "r", *CPU)
    result = command("test", *flags)
    assert result.status == 2
    assert "--dataroot: name a folder with label maps of 20 classes" in result.err
    said = [r for r in caplog.records if "20 channels of label maps are taken for" in r.message]
    assert said[-1].levelname == "WARNING"  # neither flags nor data tell
    data = draw_coloured(tmp_path / "data", stitched=False)
    result = command("test", *flags, "--label_dir", data / "testA")
    assert result.status == 2 and "is RGB, but a label map" in result.err
    assert "in the order of the classes, --label_colours rrggbb,rrggbb,…" in result.err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--label_nc", "12"], ["--label_nc 12", "36 channels"]),
        (["--label_colours", "auto"], ["--label_colours auto", "#rrggbb"]),
        (["--ngf", "5"], ["it was made with --ngf 2; use the same flags"]),
        (["--n_blocks_global", "2"], ["it was made with --n_blocks_global 9"]),
    ],
)
def test_flags_that_do_not_fit_published_weights_are_named(tmp_path: Path, flags, words) -> None:
    run = put(tmp_path / "r", GlobalGenerator(36, ngf=2))
    refusal(lambda: Translator.load(run, "--gpu_ids", "-1", *flags), *words)


def test_nothing_is_inferred_of_a_run_with_saved_options(tmp_path: Path) -> None:
    run = put(tmp_path / "r", GlobalGenerator(5, ngf=2))
    saved = {"model": "pix2pixHD", "dataroot": "-", "label_nc": 4, "label_offset": 0}
    (run / "train_opt.json").write_text(json.dumps(saved))
    opt = run_options(["--checkpoints_dir", str(tmp_path), "--name", "r", *CPU])
    assert (opt.inferred, opt.label_nc) == ({}, 4)
