"""Commands that people have in their scripts run unchanged, on a machine without a GPU."""

import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import draw, draw_pairs

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted((ROOT / "scripts").glob("t*_*.sh"))  # train_… and test_…

# In the order in which they are run; a line may use what the lines before it left.
COMMANDS = """
python train.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --direction BtoA
python train.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --direction BtoA --continue_train --epoch_count 2 --n_epochs 2
python test.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --direction BtoA
python train.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --netG unet_256 --direction BtoA --lambda_L1 100 --dataset_mode aligned --norm batch --pool_size 0
python test.py --dataroot ./datasets/facades --name facades_pix2pix --model pix2pix --netG unet_256 --direction BtoA --dataset_mode aligned --norm batch
python test.py --dataroot ./datasets/maps/testB/ --name facades_pix2pix --model test --netG unet_256 --direction BtoA --dataset_mode single --norm batch
python train.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan
python train.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan --pool_size 50 --no_dropout --display_id 0
python train.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan --continue_train
python test.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan
python test.py --dataroot ./datasets/maps --name maps_cyclegan --model cycle_gan --phase test --no_dropout
python test.py --dataroot datasets/maps/testA --name maps_cyclegan --model test --model_suffix _A --no_dropout
python test.py --dataroot datasets/maps/testA --name horse2zebra_pretrained --model test --no_dropout
python test.py --dataroot ./datasets/facades/ --direction BtoA --model pix2pix --name facades_label2photo_pretrained
python train.py --dataroot ./datasets/colorization --name color_pix2pix --model colorization
python test.py --dataroot ./datasets/colorization --name color_pix2pix --model colorization
python train.py --dataroot ./datasets/facades --name template --model template
python test.py --dataroot ./datasets/facades --name template --model template
python train.py --dataroot ./datasets/colorization/train --name grey --model pix2pix --dataset_mode template
python train.py --dataroot ./datasets/facades --name rest --model pix2pix --direction BtoA --gan_mode lsgan --norm instance --netD pixel --lr_policy cosine --save_latest_freq 2 --print_freq 1 --no_html --display_id -1
python test.py --dataroot ./datasets/facades --name rest --num_test 1 --eval --results_dir ./elsewhere/ --aspect_ratio 1.5
"""  # noqa: E501
LINES = COMMANDS.strip().splitlines()
# What makes them small, where they say nothing of it themselves.
SMALL = {
    "train.py": "--ngf 4 --ndf 4 --n_epochs 1 --n_epochs_decay 0 --load_size 70 --crop_size 64 "
    "--max_dataset_size 2 --num_threads 0",
    "test.py": "--ngf 4 --crop_size 64 --num_test 2 --num_threads 0",
}


def lay_out() -> None:
    draw_pairs(Path("datasets/facades"), count=2)
    for n, folder in enumerate(("maps/trainA", "maps/trainB", "maps/testA", "maps/testB")):
        (Path("datasets") / folder).mkdir(parents=True)
        for i in range(2):
            draw((80, 72), seed=10 * n + i).save(f"datasets/{folder}/{i}.jpg")
    for folder in ("train", "test"):
        (Path("datasets/colorization") / folder).mkdir(parents=True)
        draw((80, 72)).save(f"datasets/colorization/{folder}/1.jpg")


def small(line: str) -> tuple[str, list[str]]:
    _, script, *flags = shlex.split(line)
    extra = shlex.split(SMALL[script])
    for flag, value in zip(extra[::2], extra[1::2], strict=True):
        flags += [] if flag in flags else [flag, value]
    return script.removesuffix(".py"), flags


def publish(run: str, net: str, name: str) -> None:
    """Lay a generator where a download would."""
    folder = Path("checkpoints") / name
    folder.mkdir()
    weights = Path(f"checkpoints/{run}/latest_net_{net}.pth").read_bytes()
    (folder / "latest_net_G.pth").write_bytes(weights)


def test_the_commands_run_unchanged(command: Callable[..., SimpleNamespace]) -> None:
    lay_out()
    for line in LINES:
        if "horse2zebra_pretrained" in line:
            publish("maps_cyclegan", "G_A", "horse2zebra_pretrained")
        if "facades_label2photo_pretrained" in line:
            publish("facades_pix2pix", "G", "facades_label2photo_pretrained")
        name, flags = small(line)
        result = command(name, *flags)
        assert result.status == 0, f"{line}\n{result.err}"
    images = {p.name for p in Path("results/maps_cyclegan/test_latest/images").iterdir()}
    six = ("real_A", "fake_B", "rec_A", "real_B", "fake_A", "rec_B")
    assert images >= {f"{i}_{k}.png" for i in "01" for k in (*six, "real", "fake")}
    assert Path("elsewhere/rest/test_latest/images/0_fake_B.png").exists()
    for net in ("G_A", "G_B", "D_A", "D_B"):
        assert Path(f"checkpoints/maps_cyclegan/latest_net_{net}.pth").exists()


def test_no_command_chooses_a_device() -> None:
    assert LINES and not [line for line in LINES if "--gpu_ids" in line]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.name)
def test_scripts_pass_flags_on_to_a_command_that_parses(script: Path, run_script: Callable) -> None:
    flags = ["--name", "two words", "--verbose"]
    status, (name, *called) = run_script(script, *flags)
    assert status == 0
    assert len(script.read_text().splitlines()) == 3
    assert called[-3:] == flags

    from options.test_options import TestOptions
    from options.train_options import TrainOptions

    opt = {"train.py": TrainOptions, "test.py": TestOptions}[name]().read(called)
    assert (opt.name, opt.verbose) == ("two words", True)
    expected = {"pix2pix": "pix2pix", "cyclegan": "cycle_gan", "single": "test"}
    assert opt.model == expected.get(script.stem.split("_")[1], "colorization")


def test_all_seven_scripts_are_there() -> None:
    pairs = [f"{do}_{what}" for do in ("test", "train") for what in ("pix2pix", "cyclegan")]
    assert {p.stem for p in SCRIPTS} >= {
        *pairs,
        "train_colorization",
        "test_colorization",
        "test_single",
    }
