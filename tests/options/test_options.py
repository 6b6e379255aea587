"""options/: where a value comes from, and what is said of a wrong one."""

import argparse
import json
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
from conftest import refusal

from options.base_options import COMMANDS, Options
from options.config_files import read_run, read_yaml
from options.parser import FlagParser, gpu_list, number
from options.shared_flags import add_shared_flags
from options.test_options import TestOptions
from options.train_options import TrainOptions

FACTS: dict[str, dict[str, Any]] = {
    "train": {
        "name": "experiment_name",
        "gpu_ids": [0],
        "checkpoints_dir": "./checkpoints",
        "model": "pix2pix",
        "input_nc": 3,
        "output_nc": 3,
        "ngf": 64,
        "ndf": 64,
        "netD": "basic",
        "netG": "unet_256",
        "n_layers_D": 3,
        "norm": "batch",
        "init_type": "normal",
        "init_gain": 0.02,
        "no_dropout": False,
        "dataset_mode": "aligned",
        "direction": "AtoB",
        "serial_batches": False,
        "num_threads": 4,
        "batch_size": 1,
        "load_size": 286,
        "crop_size": 256,
        "max_dataset_size": math.inf,
        "preprocess": "resize_and_crop",
        "no_flip": False,
        "display_winsize": 256,
        "epoch": "latest",
        "load_iter": 0,
        "verbose": False,
        "suffix": "",
        "use_wandb": False,
        "display_freq": 400,
        "display_ncols": 4,
        "display_id": 0,
        "display_server": "http://localhost",
        "display_env": "main",
        "display_port": 8097,
        "update_html_freq": 1000,
        "print_freq": 100,
        "no_html": False,
        "save_latest_freq": 5000,
        "save_epoch_freq": 5,
        "save_by_iter": False,
        "continue_train": False,
        "epoch_count": 1,
        "phase": "train",
        "n_epochs": 100,
        "n_epochs_decay": 100,
        "beta1": 0.5,
        "lr": 0.0002,
        "gan_mode": "vanilla",
        "pool_size": 0,
        "lr_policy": "linear",
        "lr_decay_iters": 50,
        "lambda_L1": 100.0,
        "seed": 0,
        "precision": "auto",
        "isTrain": True,
    },
    "test": {
        "results_dir": "./results/",
        "aspect_ratio": 1.0,
        "phase": "test",
        "eval": False,
        "num_test": math.inf,
        "load_size": 256,
        "isTrain": False,
    },
}


CARRIED = {
    *("model", "dataset_mode", "dataroot", "direction", "input_nc", "output_nc", "ngf", "netG"),
    *("norm", "no_dropout", "upsample", "preprocess", "aspect_ratio", "crop_size", "precision"),
    *("range_A", "range_B", "filter_A", "filter_B", "alpha"),
}


def train(*args: Any) -> Options:
    return TrainOptions().read([str(a) for a in ("--dataroot", "images", *args)])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoints" / "r"
    folder.mkdir(parents=True)
    return folder


def opt_of(run: Path, *args: Any) -> Options:
    where = ["--checkpoints_dir", str(run.parent), "--name", run.name]
    return TestOptions().read([*where, *map(str, args)])


@pytest.mark.parametrize("name", FACTS["train"])
def test_training_default(name: str) -> None:
    assert getattr(train(), name) == FACTS["train"][name]


@pytest.mark.parametrize("name", FACTS["test"])
def test_testing_default(run: Path, name: str) -> None:
    assert getattr(opt_of(run, "--dataroot", "images"), name) == FACTS["test"][name]


def test_model_test_reads_single_images(run: Path) -> None:
    opt = opt_of(run, "--dataroot", "images", "--model", "test")
    assert (opt.dataset_mode, opt.model_suffix) == ("single", "")


def test_precedence_of_all_sources(run: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("ngf: 5\nndf: 6\nlr: 2e-4\nno_flip: true\n")
    opt = train("--config", config, "--ngf", 7)
    assert (opt.ngf, opt.ndf, opt.lr, opt.no_flip) == (7, 6, 2e-4, True)
    saved = {"ngf": 3, "norm": "instance", "crop_size": 32, "dataroot": "there", "lr": 1}
    (run / "train_opt.json").write_text(json.dumps(saved))
    opt = opt_of(run, "--config", config)
    assert (opt.norm, opt.crop_size, opt.load_size, opt.dataroot) == ("instance", 32, 32, "there")
    assert opt.ngf == 5


def test_preset_applies_without_dataroot_only(run: Path) -> None:
    preset = read_yaml(Path(__file__).parents[2] / "options" / "presets" / "builtin.yaml")
    builtin = TrainOptions().read([])
    assert builtin.dataroot == preset["dataroot"]
    assert str(builtin.crop_size) == preset["crop_size"]
    assert TrainOptions().read(["--crop_size", "32"]).crop_size == 32
    assert train().crop_size == 256
    opt = opt_of(run)
    assert str(opt.crop_size) == preset["crop_size"] == str(opt.load_size)
    (run / "train_opt.json").write_text(json.dumps({"dataroot": "there"}))
    assert opt_of(run).crop_size == 256


def test_config_with_dataroot_turns_the_preset_off(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("dataroot: images\n")
    assert TrainOptions().read(["--config", str(tmp_path / "c.yaml")]).crop_size == 256


def test_test_carries_over_what_the_network_sees(run: Path) -> None:
    flags = ["--model", "template", "--direction", "BtoA", "--input_nc", "1", "--output_nc", "1"]
    flags += ["--ngf", "9", "--netG", "unet_64", "--norm", "instance", "--no_dropout"]
    flags += ["--preprocess", "none", "--crop_size", "64", "--precision", "bf16"]
    flags += ["--upsample", "resize", "--batch_size", "7", "--seed", "5", "--phase", "other"]
    trained = train(*flags)
    values = {k: (str(v) if v == math.inf else v) for k, v in vars(trained).items()}
    (run / "train_opt.json").write_text(json.dumps(values))
    opt = opt_of(run)
    assert {k: getattr(opt, k) for k in CARRIED} == {k: getattr(trained, k) for k in CARRIED}
    parser = FlagParser()
    add_shared_flags(parser)
    assert parser.carried | parser.carried_with_model == CARRIED
    assert (opt.batch_size, opt.seed, opt.phase) == (1, 0, "test")


def test_model_by_hand_drops_what_belongs_to_the_trained_one(run: Path) -> None:
    saved = {"model": "template", "dataset_mode": "template", "dataroot": "x", "direction": "BtoA"}
    (run / "train_opt.json").write_text(json.dumps({**saved, "ngf": 9}))
    assert opt_of(run).model == "template"
    opt = opt_of(run, "--model", "test", "--dataroot", "y")
    assert (opt.model, opt.dataset_mode, opt.dataroot) == ("test", "single", "y")
    assert (opt.direction, opt.ngf) == ("BtoA", 9)  # its inputs are those of the training


def test_a_hook_can_mark_options_to_carry() -> None:
    parser = FlagParser()
    parser.carry("lambda_x", "mode_x")
    assert parser.carried == {"lambda_x", "mode_x"}


def test_text_options_of_older_frameworks_are_read(run: Path) -> None:
    (run / "train_opt.txt").write_text(
        "----------------- Options ---------------\n"
        "                 dataroot: ./datasets/maps              \t[default: None]\n"
        "                direction: BtoA                         \t[default: AtoB]\n"
        "                  gpu_ids: 0                            \n"
        "               no_dropout: True                         \t[default: False]\n"
        "                     name: maps                         \n"
        "                   suffix:                              \n"
        "----------------- End -------------------\n"
    )
    opt = opt_of(run)
    assert (opt.dataroot, opt.direction, opt.no_dropout) == ("./datasets/maps", "BtoA", True)


def test_our_own_text_reads_back(run: Path) -> None:
    opt = train("--netG", "unet_128", "--no_dropout")
    (run / "train_opt.txt").write_text(opt.text())
    values = read_run(run)
    assert (values["netG"], values["no_dropout"], values["dataroot"]) == (
        *("unet_128", "True", "images"),
    )


def test_text_marks_what_is_not_default() -> None:
    lines = train("--lr", "0.1").text().splitlines()
    marked = [line.split(":")[0].strip() for line in lines if "[default:" in line]
    assert marked == ["dataroot", "lr"]


def test_weights_fill_in_for_missing_options(run: Path) -> None:
    where = ["--checkpoints_dir", str(run.parent), "--name", "r", "--dataroot", "p"]
    opt = TestOptions(lambda folder: {"ngf": 11, "norm": "instance"}).read(where)
    assert (opt.ngf, opt.norm) == (11, "instance")
    opt = TestOptions(lambda folder: {"ngf": 11}).read([*where, "--ngf", "12"])
    assert opt.ngf == 12


def test_suffix_is_filled_in_for_training_and_testing(tmp_path: Path) -> None:
    flags = ["--name", "n", "--suffix", "{netD}_{load_size}", "--dataroot", "p"]
    assert TrainOptions().read(flags).name == "n_basic_286"
    run = tmp_path / "n_basic_x"
    run.mkdir()
    (run / "train_opt.json").write_text(json.dumps({"ngf": 3}))
    flags = ["--checkpoints_dir", str(tmp_path), "--name", "n", "--suffix", "{netD}_x"]
    opt = TestOptions().read([*flags, "--dataroot", "p"])
    assert (opt.name, opt.ngf) == ("n_basic_x", 3)


def test_values_of_a_file_are_those_of_flags_before_the_run_is_found(tmp_path: Path) -> None:
    run, file = tmp_path / "n", tmp_path / "c.yaml"
    run.mkdir()
    (run / "train_opt.json").write_text(json.dumps({"ngf": 3}))
    where = ["--checkpoints_dir", str(tmp_path), "--name", "n", "--dataroot", "p"]
    for word, ngf in (("false", 64), ("no", 64), ("true", 3)):
        file.write_text(f"continue_train: {word}")
        assert TrainOptions().read([*where, "--config", str(file)]).ngf == ngf
    file.write_text("lambda_L1: 50\nngf: 8")
    flags = [*where, "--config", str(file), "--suffix", "L{lambda_L1}_{ngf:03d}"]
    trained = TrainOptions().read(flags)
    assert trained.name == "n_L50.0_008"
    (tmp_path / trained.name).mkdir()
    (tmp_path / trained.name / "train_opt.json").write_text(json.dumps({"ndf": 5}))
    assert TestOptions().read(flags).name == trained.name
    assert TrainOptions().read([*flags, "--continue_train"]).ndf == 5
    refusal(lambda: TrainOptions().read([*where, "--suffix", "{ngf[0]}"]), "--suffix {ngf[0]}")


def test_a_suffix_of_flags_of_the_model_names_the_run_that_is_resumed(tmp_path: Path) -> None:
    flags = ["--checkpoints_dir", str(tmp_path), "--name", "a", "--dataroot", "p"]
    flags += ["--suffix", "L{lambda_L1}"]
    for own, lr in ((["--lambda_L1", "10"], 0.5), ([], 0.25)):
        trained = TrainOptions().read([*flags, *own])
        (tmp_path / trained.name).mkdir()
        options = json.dumps(vars(trained) | {"lr": lr})
        (tmp_path / trained.name / "train_opt.json").write_text(options)
    resumed = TrainOptions().read([*flags, "--lambda_L1", "10", "--continue_train"])
    assert (resumed.name, resumed.lambda_L1, resumed.lr) == ("a_L10.0", 10, 0.5)
    resumed = TrainOptions().read([*flags, "--continue_train"])
    assert (resumed.name, resumed.lr) == ("a_L100.0", 0.25)


def test_a_file_for_both_commands_may_hold_flags_of_another_model(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("model: pix2pix\nlambda_L1: 50\nlabel_aug: 0.1\nngf: 8\n")
    flags = ["--config", str(tmp_path / "c.yaml"), "--checkpoints_dir", str(tmp_path)]
    opt = TestOptions().read([*flags, "--model", "test", "--dataroot", "p"])
    assert (opt.model, opt.ngf) == ("test", 8)
    (tmp_path / "c.yaml").write_text("lambda_L3: 50\n")
    refusal(lambda: TestOptions().read([*flags, "--dataroot", "p"]), "lambda_L3: unknown option")


def test_the_suffix_of_a_fine_tuned_run_has_its_own_values(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "train_opt.json").write_text(json.dumps({"netG": "unet_64", "ngf": 8}))
    flags = ["--checkpoints_dir", str(tmp_path), "--name", "ft", "--dataroot", "p"]
    flags += ["--init_from", str(source), "--suffix", "{netG}_{ngf}_{lambda_L1}"]
    tuned = TrainOptions().read([*flags, "--lambda_L1", "50"])
    assert tuned.name == "ft_unet_64_8_50.0"
    (tmp_path / tuned.name).mkdir()
    (tmp_path / tuned.name / "train_opt.json").write_text(json.dumps(vars(tuned) | {"lr": 0.5}))
    resumed = TrainOptions().read([*flags, "--lambda_L1", "50", "--continue_train"])
    assert (resumed.name, resumed.lr) == (tuned.name, 0.5)


def test_a_restart_resumes_though_the_command_overwrites() -> None:
    flags = ["--dataroot", "p", "--name", "n", "--overwrite", "--continue_train"]
    opt = TrainOptions(restarted=True).read(flags)
    assert opt.continue_train and not opt.overwrite
    refusal(lambda: TrainOptions().read(flags), "--overwrite", "--continue_train")


def test_a_number_of_hundreds_of_digits_is_no_traceback() -> None:
    refusal(lambda: TrainOptions().read(["--ngf", "9" * 400]), "--ngf", "is not a finite number")


@pytest.mark.parametrize("flags", [[], ["--dataroot", "p", "--model", "cycle_gan"]])
def test_a_suffix_names_the_same_run_in_training_test_and_resume(tmp_path: Path, flags) -> None:
    """The fields have the defaults of the model and of the built-in data, as in the training."""
    suffix = "{model}_{netG}_{load_size}_{gan_mode}_{batch_size}_{phase}"
    flags = ["--checkpoints_dir", str(tmp_path), "--name", "n", "--suffix", suffix, *flags]
    trained = TrainOptions().read(flags)
    run = tmp_path / trained.name
    run.mkdir()
    (run / "train_opt.json").write_text(json.dumps(vars(trained) | {"ngf": 3}))
    assert TestOptions().read(flags).name == trained.name and TestOptions().read(flags).ngf == 3
    resumed = TrainOptions().read([*flags, "--continue_train", "--n_epochs", "3"])
    assert (resumed.name, resumed.ngf) == (trained.name, 3)


@pytest.mark.parametrize(
    ("flags", "alone", "batched"),
    [
        ("--batch_size 4", 4, 4),
        ("--batch_size 1", 1, 1),
        ("", 1, 16),
        ("--crop_size 512", 1, 4),
        ("--crop_size 1024", 1, 1),
        ("--preprocess none", 1, 1),
    ],
)
def test_images_share_a_batch_in_testing_if_they_have_one_size(flags, alone, batched) -> None:
    args = ["--dataroot", "p", "--checkpoints_dir", "nowhere", *flags.split()]
    assert TestOptions().read(args).batch_size == alone
    assert TestOptions(batches=True).read(args).batch_size == batched


def test_settings_are_what_somebody_has_chosen_not_what_follows_from_it(run: Path) -> None:
    saved = {"crop_size": 64, "load_size": 72, "batch_size": 4, "dataroot": "p"}
    (run / "train_opt.json").write_text(json.dumps(saved))
    flags = ["--crop_size 64", "--dataroot p"]
    assert opt_of(run).non_default_flags() == flags
    assert opt_of(run, "--batch_size", 8).non_default_flags() == flags  # changes no result
    assert opt_of(run, "--load_size", 80).non_default_flags() == [*flags, "--load_size 80"]


def test_the_preset_of_the_builtin_data_stands_for_its_settings() -> None:
    preset = "options/presets/builtin.yaml"
    assert TrainOptions().read([]).non_default_flags() == [preset]
    assert TrainOptions().read(["--ngf", "8", "--beta1", "0.9"]).non_default_flags() == [
        *(preset, "--beta1 0.9", "--ngf 8")
    ]
    cycle = TrainOptions().read(["--model", "cycle_gan"]).non_default_flags()
    assert cycle[:2] == [preset, "options/presets/builtin_cycle_gan.yaml"]
    assert not any("netG" in flag or "batch_size" in flag for flag in cycle)


def test_options_are_assignable_and_picklable() -> None:
    # What scripts do with the object that parse() gives them; the tests' own are frozen.
    opt = Options(**vars(train()))
    opt.defaults = {}
    opt.num_threads = 0
    again = pickle.loads(pickle.dumps(opt))
    assert vars(again) == vars(opt) and "defaults" not in vars(opt)


def test_yaml_values_keep_their_spelling(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "gpu_ids: [0, 1]\nnorm: none\nlr: 2e-4\nno_flip: off\nname: 1_0\n"
    )
    opt = train("--config", tmp_path / "c.yaml")
    assert (opt.gpu_ids, opt.norm, opt.lr, opt.no_flip, opt.name) == (
        [0, 1],
        "none",
        2e-4,
        False,
        "1_0",
    )


def test_later_sources_can_switch_a_switch_off(run: Path, tmp_path: Path) -> None:
    (run / "train_opt.json").write_text(json.dumps({"no_dropout": True, "dataroot": "p"}))
    assert opt_of(run).no_dropout is True
    (tmp_path / "c.yaml").write_text("no_dropout: false\n")
    assert opt_of(run, "--config", tmp_path / "c.yaml").no_dropout is False


@pytest.mark.parametrize(
    ("text", "ids"), [("0", [0]), ("0,2", [0, 2]), ("-1", []), ("[0, 1]", [0, 1]), ("[]", [])]
)
def test_gpu_list(text: str, ids: list[int]) -> None:
    assert gpu_list(text) == ids


@pytest.mark.parametrize(
    ("kind", "text"),
    [(int, "1.5"), (int, "x"), (float, "nan"), (float, "inf"), (int, "0"), (float, "-0.1")],
)
def test_number_refuses(kind: type, text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        number(kind, at_least=0.5)(text)


def test_help_groups_the_flags_of_the_chosen_model_and_dataset(capsys: Any) -> None:
    with pytest.raises(SystemExit) as stop:
        TrainOptions().parse(["--model", "template", "--dataset_mode", "template", "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    for section in ("run:", "data:", "networks:", "model template:", "dataset template:"):
        assert f"\n{section}\n" in text
    assert "--lambda_regression" in text and "--grey_contrast" in text
    assert "--lambda_L1" not in text
    assert "(default: unet_256)" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_has_a_help_text(command: str) -> None:
    parser = FlagParser()
    COMMANDS[command](parser)
    assert all(action.help for action in parser.options().values())


@pytest.mark.parametrize("flags", ["--lambda_vgg 1", "--model spade --dataroot x"])
def test_missing_vgg_weights_are_said_before_images_are_read(flags: str) -> None:
    given = [*flags.split(), "--vgg_weights", "gone.pth"]
    refusal(lambda: TrainOptions().read(given), "--vgg_weights gone.pth", "no such file")
    assert TrainOptions().read(["--model", "spade", "--no_vgg_loss"]).vgg_weights is None


def test_model_test_finds_a_run_with_a_suffix_of_any_model(tmp_path: Path) -> None:
    where = ["--checkpoints_dir", str(tmp_path), "--dataroot", "p", "--suffix", "{netG}_{model}"]
    for model in ("pix2pix", "cycle_gan", "spade"):
        trained = TrainOptions().read([*where, "--name", model, "--model", model])
        assert trained.name.endswith(f"_{model}")
        (tmp_path / trained.name).mkdir()
        tested = TestOptions().read([*where, "--name", model, "--model", "test"])
        assert tested.name == trained.name
    odd = ["--name", "n", "--model", "test", "--suffix", "{odd}"]
    refusal(lambda: TestOptions().read([*where, *odd]), "--suffix {odd}", "is not an option")


def test_one_file_serves_both_commands(tmp_path: Path) -> None:
    """What each command alone has is ignored by the other; so is how the training loads images."""
    file = tmp_path / "c.yaml"
    own = "name: n\ndataroot: p\nload_size: 300\nno_flip: false\nbatch_size: 3\nn_epochs: 7\n"
    file.write_text(own + "results_dir: elsewhere\nuse_ema: true\nnum_test: 9\ncrop_size: 128\n")
    flags = ["--checkpoints_dir", str(tmp_path), "--config", str(file)]
    trained = TrainOptions().read(flags)
    assert (trained.load_size, trained.no_flip, trained.batch_size) == (300, False, 3)
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / "train_opt.json").write_text(json.dumps(vars(trained), default=str))
    tested = TestOptions().read(flags)
    assert (tested.load_size, tested.no_flip, tested.batch_size) == (128, True, 1)
    assert (tested.results_dir, tested.use_ema, tested.num_test) == ("elsewhere", True, 9)
    file.write_text(own.replace("300", "290"))  # another size is meant for the test
    assert TestOptions().read(flags).load_size == 290
    file.write_text("nmae: n\n")
    refusal(lambda: TrainOptions().read(flags), "nmae: unknown option", "name")


OWN_FLAGS = """
import argparse

from models.pix2pix_model import Pix2PixModel


class MineModel(Pix2PixModel):
    @staticmethod
    def modify_commandline_options(parser, is_train):
        parser = Pix2PixModel.modify_commandline_options(parser, is_train)
        add = parser.add_argument
        add("--truth", type=bool, default=False, carry=True)
        add("--scales", nargs="+", type=int, default=[1, 2], carry=True)
        add("--words", nargs=2, default=["a b", "c,d"], carry=True)
        add("--more", action="append", default=[], carry=True)
        add("--no_edge", action="store_false", dest="edge", carry=True)
        add("--lambda-edge", type=float, default=3.0, carry=True)
        add("--five", action="store_const", const=5, default=1, carry=True)
        return parser
"""


@pytest.mark.parametrize(
    "given",
    [
        [],
        [
            "--truth",
            "yes",
            "--scales",
            "4",
            "5",
            "6",
            "--words",
            "x",
            "y z",
            "--more",
            "1",
            "--no_edge",
        ]
        + ["--lambda-edge", "0.5", "--five"],
    ],
    ids=["defaults", "given"],
)
def test_flags_of_a_users_model_come_back_as_they_were(drop, tmp_path, given) -> None:
    drop("models/mine_model.py", OWN_FLAGS)
    where = ["--checkpoints_dir", str(tmp_path), "--name", "n"]
    trained = TrainOptions().read([*where, "--dataroot", "p", "--model", "mine", *given])
    (tmp_path / "n").mkdir()
    saved = json.loads(json.dumps(vars(trained), default=str))
    (tmp_path / "n" / "train_opt.json").write_text(json.dumps(saved))
    names = ("truth", "scales", "words", "more", "edge", "lambda_edge", "five")
    for opt in (TrainOptions().read([*where, "--continue_train"]), TestOptions().read(where)):
        assert [getattr(opt, name) for name in names] == [getattr(trained, name) for name in names]


def test_a_flag_that_exists_is_not_added_again(drop, tmp_path) -> None:
    drop("models/mine_model.py", OWN_FLAGS.replace("--truth", "--seed"))
    refusal(lambda: TrainOptions().read(["--model", "mine"]), "--seed: a model or data set adds it")
