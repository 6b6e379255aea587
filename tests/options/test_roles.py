"""Every flag has a role, and the questions about flags follow from it."""

import contextlib
import pickle
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY, refusal

from options.base_options import COMMANDS, Options
from options.parser import FlagParser
from options.roles import ROLES, SAME_RESULTS, differences, names
from options.shared_flags import add_shared_flags
from options.test_options import TestOptions
from options.train_options import TrainOptions
from training.state import changed_flags, changes_as_hint, plain
from util.registry import find_class, known

# What does not change results; whatever is not listed here is compared.
WITHOUT_EFFECT = {
    "train": {
        "launch": "checkpoints_dir config continue_train epoch epoch_count gpu_ids init_from "
        "isTrain load_iter name no_data_check overwrite suffix verbose",
        "speed": "cache distributed_graphs no_graphs num_threads",
        "display": "display_env display_freq display_id display_ncols display_port "
        "display_server display_winsize no_html print_freq update_html_freq use_tensorboard "
        "use_wandb wandb_project_name",
        "saving": "keep save_by_iter save_epoch_freq save_latest_freq save_on_error",
    },
    "test": {
        "launch": "checkpoints_dir config epoch gpu_ids isTrain load_iter name no_data_check "
        "num_shards page_only results_dir shard_id skip_finished suffix verbose",
        "speed": "batch_size num_threads",
        "display": "display_winsize num_variants use_wandb wandb_project_name",
        "saving": "",
    },
}


def train(*flags: str) -> Any:
    return TrainOptions().read(["--dataroot", "images", *flags])


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_of_ours_is_given_a_role(command: str) -> None:
    hooks = [
        find_class(package, name, "").modify_commandline_options
        for package in ("models", "data")
        for name in known(package)
    ]
    for hook in hooks:
        parser = FlagParser()
        add_shared_flags(parser)
        COMMANDS[command](parser)
        with contextlib.suppress(ValueError):  # --model test, which does not train
            hook(parser, command == "train")
        assert set(parser.options()) == set(parser.given_roles)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_flags_that_do_not_change_results_are_these(command: str) -> None:
    opt = train() if command == "train" else TestOptions().read(["--dataroot", "images"])
    found = {
        role: " ".join(sorted(name for name, of in opt.roles.items() if of == role))
        for role in SAME_RESULTS
    }
    assert found == WITHOUT_EFFECT[command]
    assert vars(opt).keys() == opt.roles.keys() and set(opt.roles.values()) <= set(ROLES)


OWN = """
from data.aligned_dataset import AlignedDataset


class OwnDataset(AlignedDataset):
    @staticmethod
    def modify_commandline_options(parser, is_train):
        parser.add_argument("--sharpness", type=float, default=1.0)
        parser.add_argument("--shout", action="store_true", role="display")
        parser.add_argument("--from_where", default="here", role="launch")
        return parser
"""


def test_a_users_flag_without_a_role_counts_as_training(drop: Any, tmp_path: Path) -> None:
    drop("data/own_dataset.py", OWN)
    opt = train("--dataset_mode", "own", "--sharpness", "2", "--shout")
    assert opt.roles["sharpness"] == "training" and opt.roles["shout"] == "display"
    found = differences(opt, plain(train("--dataset_mode", "own")), SAME_RESULTS)
    assert found == {"sharpness": (1.0, 2.0)}


def test_a_resume_keeps_all_flags_but_those_of_the_launch(
    drop: Any, command: Any, pairs: Path
) -> None:
    drop("data/own_dataset.py", OWN)
    flags = ["--dataset_mode", "own", "--sharpness", "2", "--shout", "--from_where", "there"]
    more = ["--dataroot", pairs, "--name", "r", "--verbose", "--print_freq", "7"]
    assert command("train", *TINY, *flags, *more).status == 0
    opt = TrainOptions().read(["--name", "r", "--continue_train"])
    assert (opt.sharpness, opt.shout, opt.print_freq, opt.ngf) == (2, True, 7, 4)
    assert (opt.from_where, opt.verbose, opt.gpu_ids) == ("here", False, [0])


def test_a_role_can_differ_by_command_and_must_be_known() -> None:
    parser = FlagParser()
    parser.add_argument("--size", role={"train": "training", "test": "speed"})
    assert parser.roles("train") == {"size": "training"}
    assert parser.roles("test") == {"size": "speed"}
    refusal(lambda: parser.add_argument("--x", role="sped"), "--x: role 'sped'", *ROLES)


def test_a_section_gives_its_role_to_the_flags_that_name_none() -> None:
    parser = FlagParser()
    with parser.section("one", role="speed"):
        parser.add_argument("--a")
        parser.add_argument("--b", role="data")
    parser.add_argument("--c")
    assert parser.roles("train") == {"a": "speed", "b": "data", "c": "training"}
    assert set(parser.given_roles) == {"a", "b"}


def test_all_options_of_a_plain_namespace_count_as_training() -> None:
    opt = Namespace(name="r", lr=1)
    assert names(opt, SAME_RESULTS) == {"name", "lr"} and names(opt, ["training"]) == set()
    assert differences(opt, {"lr": 2}, SAME_RESULTS) == {"lr": (2, 1)}


def test_what_a_file_does_not_hold_had_its_default_and_what_is_gone_is_ignored() -> None:
    opt = train("--lr", "0.5", "--name", "x")
    assert differences(opt, {}, SAME_RESULTS).keys() == {"dataroot", "lr"}
    saved = {"dataroot": "images", "lr": 0.5, "name": "y", "of_an_earlier_version": 3}
    assert differences(opt, saved, SAME_RESULTS) == {}
    assert differences(opt, saved, []) == {"name": ("y", "x")}


def test_changed_flags_are_told_and_in_an_error_only_those_that_may_be_its_reason() -> None:
    state = {"options": plain(train("--print_freq", "7", "--ngf", "32", "--name", "a"))}
    opt = train("--name", "b")
    assert changed_flags(opt, state) == ["--ngf 32 -> 64", "--print_freq 7 -> 100"]
    assert changes_as_hint(opt, state) == "; changed since it was saved: --ngf 32 -> 64"
    assert changes_as_hint(train("--ngf", "32"), state) == ""


def test_options_can_go_to_another_process() -> None:
    """As workers of a loader need them where processes are spawned."""
    opt = TrainOptions().read(["--dataroot", "data"])
    kept = {name: getattr(opt, name) for name in Options.__slots__}
    assert pickle.loads(pickle.dumps(kept)) == kept
