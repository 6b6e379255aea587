"""A flag that does not belong is told whose it is; a run's own model keeps the run's data."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import TINY, refusal

from options.other_flag_names import ELSEWHERE, RENAMED, WITHOUT_COUNTERPART
from options.test_options import TestOptions
from options.train_options import TrainOptions
from scripts import doctor, download, evaluate, make_pairs, sweep

ALONE = ["--dataroot", "images"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--lambda_gan 0", ["--lambda_gan", "did you mean --lambda_GAN?"]),
        ("--lambda_A 5", ["--lambda_A", "is a flag of --model cycle_gan"]),
        (
            "--model cycle_gan --lambda_L1 5",
            ["is a flag of --model colorization or inpaint or pix2pix"],
        ),
        ("--grey_contrast 3", ["is a flag of --dataset_mode template"]),
        ("--dropout_at_test off", ["is a flag of test.py"]),
        ("--model_suffix _A", ["is a flag of test.py"]),
        ("--use_wandb true", ["--use_wandb true", "takes no value"]),
    ],
)
def test_a_flag_of_something_else_is_told_whose_it_is(flags: str, words: list[str]) -> None:
    refusal(lambda: TrainOptions().read(flags.split()), *words)


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [
        ("--epochs", "--n_epochs"),
        ("--learning_rate", "--lr"),
        ("--workers", "--num_threads"),
        ("--gpus", "--gpu_ids"),
        ("--output", "--checkpoints_dir"),
        ("--fp16", "--precision bf16"),
        ("--niter", "--n_epochs"),
    ],
)
def test_a_flag_of_another_program_is_told_ours(foreign: str, ours: str) -> None:
    refusal(lambda: TrainOptions().read([foreign, "5"]), f"{foreign}: ", f"mean {ours}?")


@pytest.mark.parametrize("flag", WITHOUT_COUNTERPART)
def test_a_flag_without_a_counterpart_is_told_what_takes_its_place(flag: str) -> None:
    for model in ("pix2pix", "spade", "pix2pixHD", "inpaint"):
        words = f"{flag}: unknown flag; {WITHOUT_COUNTERPART[flag]}"
        refusal(lambda model=model: TrainOptions().read(["--model", model, flag, "5"]), words)


@pytest.mark.parametrize("read", [TrainOptions, TestOptions])
@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--mask", "test_mask/, beside test/, or in --mask_dir"),
        ("--test_mask", "test_mask/, beside test/, or in --mask_dir"),
        ("--mask_root", "did you mean --mask_dir?"),
        ("--mask_type", "did you mean --masks?"),
        ("--sketch", "test_sketch/, beside test/"),
    ],
)
def test_flags_of_masks_and_sketches_are_told_their_place(read, flag: str, words: str) -> None:
    refusal(lambda: read().read([*ALONE, "--model", "inpaint", flag, "x"]), f"{flag}: ", words)


@pytest.mark.parametrize(
    ("flag", "given", "ours"),
    [
        ("--gan_mode", "ls", "lsgan"),
        ("--gan_mode", "original", "vanilla"),
        ("--direction", "B2A", "BtoA"),
        ("--model", "gaugan", "spade"),
        ("--model", "DeepFillv2", "inpaint"),
        ("--model", "SPADE", "spade"),
        ("--model", "pix2pixhd", "pix2pixHD"),
        ("--model", "CycleGAN", "cycle_gan"),
        ("--dataset_mode", "label", "labels"),
    ],
)
def test_a_value_of_another_program_is_told_ours(flag: str, given: str, ours: str) -> None:
    refusal(lambda: TrainOptions().read([flag, given]), f"{flag}", given, f"did you mean {ours}?")


def test_what_is_told_exists() -> None:
    known = {
        f"--{name}" for read in (TrainOptions, TestOptions) for name in vars(read().read(ALONE))
    }
    for model in ("pix2pixHD", "inpaint"):
        known |= {f"--{name}" for name in vars(TrainOptions().read([*ALONE, "--model", model]))}
    for proposed in (*RENAMED.values(), *ELSEWHERE.values()):
        assert {one.partition(" ")[0] for one in proposed.split(" or ")} <= known
    assert not known & (ELSEWHERE.keys() | WITHOUT_COUNTERPART.keys())


def test_all_unknown_flags_are_named() -> None:
    flags = ["--epochs", "3", "--modle", "pix2pix", "--zzz"]
    lines = "--epochs: unknown flag; did you mean --n_epochs? --modle: unknown flag; did you mean "
    refusal(lambda: TrainOptions().read(flags), f"{lines}--model?", "--zzz: unknown flag; see")


@pytest.mark.parametrize(
    ("main", "flags", "words"),
    [
        (make_pairs.main, "IN OUT --tsk edges", "--tsk: unknown flag; did you mean --task?"),
        (make_pairs.main, "IN OUT --task edges --size_ 3", "did you mean --size?"),
        (make_pairs.main, "IN OUT more --task edges", "more: not a flag, and one word too many"),
        (make_pairs.main, "IN", "the following arguments are required: OUT, --task"),
        (doctor.main, "--dataroo IN", "--dataroo: unknown flag; did you mean --dataroot?"),
        (download.main, "--lst", "--lst: unknown flag; did you mean --list?"),
        (evaluate.main, "facades", "as in --name facades"),
        (sweep.main, "plan.yaml --jbos 2", "--jbos: unknown flag; did you mean --jobs?"),
    ],
)
def test_other_commands_suggest_flags_too(main: Callable, flags: str, words: str) -> None:
    refusal(lambda: main(flags.split()), words)


def test_no_flag_of_training_looks_like_a_mistyped_one_of_the_sweep() -> None:
    for name in vars(TrainOptions().read(ALONE)):
        assert sweep.parse(["plan.yaml", f"--{name}", "1"])[0].jobs == 1


def test_a_flag_of_training_is_told_so_in_test() -> None:
    refusal(lambda: TestOptions().read(["--lr", "3"]), "--lr", "is a flag of train.py")


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Any]:
    """Lay a run of these options and return what test.py makes of it and of flags."""

    def read(saved: dict[str, Any], *flags: str) -> Any:
        (tmp_path / "r").mkdir()
        (tmp_path / "r" / "train_opt.json").write_text(json.dumps(saved))
        return TestOptions().read(["--checkpoints_dir", str(tmp_path), "--name", "r", *flags])

    return read


SAVED = {"model": "pix2pix", "dataroot": "mine", "direction": "BtoA", "netG": "unet_128"}


@pytest.mark.parametrize("flags", [[], ["--model", "pix2pix"]])
def test_the_runs_own_model_keeps_the_runs_data(run: Callable[..., Any], flags: list[str]) -> None:
    opt = run(SAVED, *flags)
    assert (opt.dataroot, opt.direction, opt.netG) == ("mine", "BtoA", "unet_128")


def test_another_model_takes_other_data_but_the_network(run: Callable[..., Any]) -> None:
    opt = run(SAVED, "--model", "test", "--dataroot", "others")
    assert (opt.dataroot, opt.direction, opt.dataset_mode) == ("others", "BtoA", "single")
    assert opt.netG == "unet_128"


def test_a_suffix_is_for_model_test_only(run: Callable[..., Any]) -> None:
    refusal(lambda: run(SAVED, "--model_suffix", "_A"), "--model_suffix _A", "--model test")


MODEL = """
from models.base_model import BaseModel


class OldModel(BaseModel):
    def __init__(self, opt):
        super().__init__(opt)
        self.model_names = ["G"]
        {line}

    def set_input(self, batch): ...
    def forward(self): ...
"""


@pytest.mark.parametrize("line", ["self.optimizers.append(1)", "print(self.gpu_ids)"])
def test_a_model_that_lists_names_is_told_of_the_line_to_change(
    command: Callable[..., SimpleNamespace],
    drop: Callable[[str, str], None],
    pairs: Path,
    line: str,
) -> None:
    drop("models/old_model.py", MODEL.format(line=line))
    result = command("train", *TINY, "--dataroot", pairs, "--model", "old")
    assert result.status == 2 and result.err.count("\n") == 1
    assert all(words in result.err for words in ("--model old", "by_name.py", "migrating.md"))


def test_a_name_without_its_network_is_told(
    command: Callable[..., SimpleNamespace], drop: Callable[[str, str], None], pairs: Path
) -> None:
    source = MODEL.format(line="").replace("base_model import BaseModel", "by_name import *")
    drop("models/old_model.py", source.replace("(BaseModel)", "(NamedModel)"))
    result = command("train", *TINY, "--dataroot", pairs, "--model", "old")
    assert result.status == 2 and "model_names lists G" in result.err


def test_plateau_without_a_validation_loss_is_refused_before_training(
    command: Callable[..., SimpleNamespace], drop: Callable[[str, str], None], pairs: Path
) -> None:
    source = "from models.template_model import *\n\n\nclass MineModel(TemplateModel):\n"
    drop("models/mine_model.py", source + "    metric_pair = BaseModel.metric_pair\n")
    flags = ["--dataroot", pairs, "--model", "mine", "--lr_policy", "plateau"]
    result = command("train", *TINY, *flags)
    assert result.status == 2 and "validation_loss" in result.err
    assert not Path("checkpoints").exists()
