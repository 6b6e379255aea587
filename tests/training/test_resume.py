"""A run that stops and goes on ends as one that was never stopped, to the last bit."""

import json
import os
import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import TINY, draw_pairs, refusal
from support.holes import INPAINT, draw_photos
from support.label_folders import draw_labels

from models.pix2pix_model import Pix2PixModel
from options.train_options import TrainOptions
from scripts.dev.torture import same as equal
from training import trainer, validation
from training.state import TrainingState, read_state
from util.checkpoint import save_weights
from util.displays.loss_log import parse_line

Command = Callable[..., SimpleNamespace]
MODELS = {
    "pix2pix": ["--pool_size", "3", "--batch_size", "2"],
    "cycle_gan": ["--netG", "resnet_6blocks", "--pool_size", "2"],
    "colorization": ["--pool_size", "2"],
}
LABELS = ["--dataroot", "labels", "--no_vgg_loss"]
FAMILY = {
    "spade": ["--netG", "spade", "--use_vae", "--ema", "0.9", *LABELS],
    "pix2pixHD": [
        *("--netG", "global", "--n_downsample_global", "2", "--n_blocks_global", "1"),
        *("--instance_feat", "--pool_size", "2", *LABELS),
    ],
    "inpaint": [*INPAINT, "--ema", "0.9", "--guided", "--dataroot", "photos"],
}
POLICIES = ["step", "plateau", "cosine"]  # linear is the default of all other tests
# Five images, three epochs; dropout, mirroring, crops, pool.
FLAGS = [*TINY, *("--n_epochs", "2", "--n_epochs_decay", "1", "--lr_decay_iters", "1")]
FLAGS += ["--print_freq", "1", "--no_html", "--save_latest_freq", "3"]


@pytest.fixture
def run(command: Command, caplog: pytest.LogCaptureFixture) -> Callable[..., SimpleNamespace]:
    """Train on five images: `run(name, flags, stop_after=step)`; `out` is what it said."""
    draw_pairs(Path("data"), count=5)
    draw_labels(Path("labels"), count=5)
    draw_photos(Path("photos"), count=5)

    def train_(name: str, *flags: Any, stop_after: int = 0, by: int = signal.SIGINT):
        steps = 0

        def step(self: Any, *args: Any) -> None:
            nonlocal steps
            observe(self, *args)
            steps += 1
            if steps == stop_after:
                signal.raise_signal(by)

        caplog.clear()
        with pytest.MonkeyPatch.context() as patch:
            observe = trainer.NanCheck.observe
            patch.setattr(trainer.NanCheck, "observe", step)
            place = ["--dataroot", "data", "--name", name, "--checkpoints_dir", "runs"]
            result = command("train", *FLAGS, *place, *flags)
        result.out = caplog.text
        result.rates = re.findall(r"epoch (\d)/3 took \d+ s, learning rate (\S+)", result.out)
        return result

    return train_


def slow(names: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow) for name in names]


def weights(name: str) -> dict[str, torch.Tensor]:
    found = {}
    for path in sorted(Path("runs", name).glob("latest_net_*.pth")):
        state = torch.load(path, weights_only=True)
        found |= {f"{path.name} {key}": value for key, value in state.items()}
    return found


def losses(name: str) -> list[tuple]:
    lines = map(parse_line, Path("runs", name, "loss_log.txt").read_text().splitlines())
    return [(entry.epoch, entry.iters, entry.losses) for entry in lines if entry]


def state(name: str) -> Any:
    return torch.load(Path("runs", name, "latest_state.pth"), weights_only=True)


def assert_same_end(cut: str, whole: str) -> None:
    assert equal(weights(cut), weights(whole)) and weights(whole)
    assert losses(cut) == losses(whole)
    ends = [state(name) for name in (cut, whole)]
    for end in ends:
        for own in ("since", "seconds", "peak_memory"):
            end["progress"].pop(own)
    parts = ["networks", "optimizers", "pools", "random", "progress"]
    if ends[0]["options"]["lr_policy"] == "plateau":  # the others follow from the epoch
        parts.append("schedulers")
    for part in parts + (["averages"] if "averages" in ends[1] else []):
        assert equal(ends[0][part], ends[1][part]), part


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("model", [*MODELS, *slow(FAMILY)])
def test_a_run_stopped_in_mid_epoch_ends_as_one_that_was_not(run, model, workers):
    flags = ["--model", model, *(MODELS | FAMILY)[model], "--num_threads", workers]
    whole = run("whole", *flags)
    first = run("cut", *flags, stop_after=4)
    second = run("cut", *flags, "--continue_train", stop_after=3)
    third = run("cut", *flags, "--continue_train")
    assert [r.status for r in (whole, first, second, third)] == [0, 130, 130, 0], third.err
    assert_same_end("cut", "whole")
    assert first.rates + second.rates + third.rates == whole.rates and len(whole.rates) == 3


@pytest.mark.slow
@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("model", MODELS)
def test_a_run_stopped_in_the_last_step_of_an_epoch_goes_on(run, model):
    flags = ["--model", model, *MODELS[model]]
    steps = 3 if model == "pix2pix" else 5  # of an epoch
    whole, cut = run("whole", *flags), run("cut", *flags, stop_after=steps)
    rest = run("cut", *flags, "--continue_train")
    assert [r.status for r in (whole, cut, rest)] == [0, 130, 0], rest.err
    assert_same_end("cut", "whole")
    assert cut.rates + rest.rates == whole.rates


def test_a_resume_needs_no_flag_of_the_run_again(command, run):
    flags = ["--lambda_L1", "7", "--beta1", "0.6", "--direction", "BtoA"]
    run("whole", *flags)
    run("cut", *flags, stop_after=7)
    again = command("train", "--name", "cut", "--checkpoints_dir", "runs", "--continue_train")
    assert again.status == 0, again.err
    assert_same_end("cut", "whole")
    assert not Path("datasets").exists()  # the built-in images


def test_a_state_of_a_gpu_goes_on_on_a_cpu(run):
    run("whole")
    run("cut", stop_after=7)
    path = Path("runs/cut/latest_state.pth")
    saved = torch.load(path, weights_only=True)
    for optimizer in saved["optimizers"].values():  # there, weights lie channels_last
        for means in optimizer["state"].values():
            for name, value in means.items():
                if value.dim() == 4:
                    means[name] = value.to(memory_format=torch.channels_last)
    torch.save(saved, path)
    assert run("cut", "--continue_train").status == 0
    assert_same_end("cut", "whole")


def test_a_run_that_stopped_before_its_first_save_starts_anew(run, monkeypatch):
    def dies(self: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(Pix2PixModel, "optimize_parameters", dies)
        with pytest.raises(ZeroDivisionError):
            run("cut")
    result = run("cut", "--continue_train")
    assert result.status == 0 and "stopped before its first checkpoint" in result.out
    run("whole")
    assert equal(weights("cut"), weights("whole"))


def test_a_run_that_stopped_before_its_first_save_needs_no_flag_again(command, run, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(Pix2PixModel, "optimize_parameters", lambda self: 1 / 0)
        run("cut", "--lr", "0.125")
    place = ["--checkpoints_dir", "runs", "--name", "cut", "--gpu_ids", "-1"]
    result = command("train", *place, "--continue_train")
    assert result.status == 0, result.err
    saved = json.loads(Path("runs/cut/train_opt.json").read_text())
    assert saved["lr"] == 0.125 and "builtin" not in saved["dataroot"]


def test_the_best_weights_alone_are_nothing_to_go_on_from(run):
    run("cut", "--val_freq", "1", "--n_epochs", "1", "--n_epochs_decay", "0")
    for path in Path("runs/cut").glob("latest_*"):  # as if it had been killed before
        path.unlink()
    shutil.copytree("runs/cut", "runs/chosen")
    result = run("cut", "--continue_train")
    assert result.status == 0 and "stopped before its first checkpoint" in result.out
    result = run("chosen", "--continue_train", "--epoch", "best")
    assert result.status == 0 and "runs/chosen/best_net_G.pth" in result.out


@pytest.mark.parametrize("last", ["latest_net_G_B.pth", "latest_net_D_B.pth"])
def test_a_run_that_was_killed_within_its_first_save_starts_anew(run, last):
    class Killed(BaseException):
        pass

    def save(state: Any, path: Path) -> None:
        if path.name == last:
            raise Killed
        save_weights(state, path)

    flags = ["--model", "cycle_gan", *MODELS["cycle_gan"], "--val_freq", "1"]
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr("models.weights.save_weights", save)
        run("cut", *flags)
    assert Path("runs/cut/latest_net_G_A.pth").exists()
    result = run("cut", *flags, "--continue_train")
    assert result.status == 0 and "stopped before its first checkpoint" in result.out
    Path("runs/cut/latest_state.pth").unlink()  # by the user: the weights are whole
    result = run("cut", *flags, "--continue_train")
    assert "resuming from these weights" in result.out


def test_a_kill_within_the_first_save_of_an_overwritten_run_leaves_nothing_of_both(run):
    class Killed(BaseException):
        pass

    def save(state: Any, path: Path) -> None:
        if path.name == "latest_net_D.pth":
            raise Killed
        save_weights(state, path)

    run("cut", "--lr", "0.1")
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr("models.weights.save_weights", save)
        run("cut", "--overwrite")
    result = run("cut", "--continue_train")
    assert result.status == 0 and "stopped before its first checkpoint" in result.out
    run("whole")
    assert equal(weights("cut"), weights("whole"))


def test_the_state_names_the_epoch_of_the_best_weights(run, monkeypatch):
    states = []
    save = TrainingState.save

    def noted(self: Any) -> None:
        save(self)
        states.append((self.progress.epoch, self.progress.best_epoch))

    monkeypatch.setattr(TrainingState, "save", noted)
    scores = iter([3.0, 2.0, 9.0, 1.0, 9.0])  # the first is measured before the training
    monkeypatch.setattr(validation, "mean_scores", lambda *_: {"L1": next(scores)})
    run("cut", "--val_freq", "1", "--n_epochs", "4", "--n_epochs_decay", "0")
    ends = [state for state in states if state[0] > state[1]]  # after the epoch itself
    assert {(2, 1), (4, 3)} <= {*ends}


def test_the_time_of_a_training_includes_that_before_an_interruption(run):
    run("cut", stop_after=2)
    progress = torch.load("runs/cut/latest_state.pth", weights_only=True)["progress"]
    assert progress["epoch"] == 1 and progress["seconds"] > 0


def test_without_its_state_a_run_goes_on_from_its_weights_with_its_flags(run, command):
    run("r", "--norm", "instance")
    Path("runs/r/latest_state.pth").unlink()
    result = command("train", "--name", "r", "--checkpoints_dir", "runs", "--continue_train")
    assert result.status == 0, result.err
    saved = json.loads(Path("runs/r/train_opt.json").read_text())
    assert (saved["norm"], saved["dataroot"]) == ("instance", "data")
    assert not Path("datasets").exists()  # the built-in images


@pytest.mark.parametrize("file", ["latest_state.pth", "latest_net_G.pth"])
def test_a_file_with_a_byte_that_changed_is_refused(command, run, file):
    run("r", stop_after=1)
    path = Path("runs/r", file)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    if file == "latest_state.pth":
        result = run("r", "--continue_train")
    else:
        flags = ["--checkpoints_dir", "runs", "--gpu_ids", "-1", "--num_threads", "0"]
        result = command("test", "--name", "r", *flags)
    assert result.status == 2 and file in result.err and "damaged" in result.err


@pytest.mark.parametrize("policy", POLICIES)
def test_learning_rates_go_on(run, policy):
    whole = run("whole", "--lr_policy", policy)
    cut = run("cut", "--lr_policy", policy, stop_after=7)
    rest = run("cut", "--lr_policy", policy, "--continue_train")
    assert cut.rates + rest.rates == whole.rates
    assert_same_end("cut", "whole")


@pytest.mark.parametrize(
    "flags",
    [
        ["--precision", "bf16", "--netD", "n_layers", "--n_layers_D", "2", "--no_conditional_D"],
        ["--gan_mode", "wgangp", "--norm", "instance"],
        ["--netD", "pixel", "--gan_mode", "hinge", "--grad_accum", "2"],
        ["--lambda_GAN", "0"],
    ],
)
def test_other_losses_and_networks_go_on_too(run, flags):
    assert run("whole", *flags).status == 0
    assert run("cut", *flags, stop_after=7).status == 130
    assert run("cut", "--continue_train").status == 0  # with the flags of the run
    assert_same_end("cut", "whole")


def test_a_run_that_was_killed_goes_on_from_its_last_save(run, monkeypatch):
    run("whole")

    def dies(self: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == 9:
            raise ZeroDivisionError
        optimize(self)

    steps, optimize = 0, Pix2PixModel.optimize_parameters
    with monkeypatch.context() as patch:
        patch.setattr(Pix2PixModel, "optimize_parameters", dies)
        with pytest.raises(ZeroDivisionError):
            run("cut")
    assert len(losses("cut")) == 8 and state("cut")["progress"]["total"] == 6
    assert run("cut", "--continue_train").status == 0
    assert_same_end("cut", "whole")


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_saves_and_says_how_to_go_on(run, by):
    before = signal.getsignal(by)
    result = run("r", stop_after=2, by=by)
    assert result.status == 128 + by
    assert ": stopped in epoch 1 after 2 of its images" in result.err
    assert "--continue_train" in result.err and len(result.err.splitlines()) == 1
    progress = {"epoch": 1, "iters": 2, "total": 2, "since": None, "pictures": 5}
    assert progress.items() <= state("r")["progress"].items()
    assert signal.getsignal(by) == before


def test_a_training_in_a_thread_leaves_signals_alone(run):
    before, results = signal.getsignal(signal.SIGINT), []
    thread = threading.Thread(target=lambda: results.append(run("r", "--max_dataset_size", 1)))
    thread.start()
    thread.join()
    assert results[0].status == 0 and signal.getsignal(signal.SIGINT) == before


def test_a_second_signal_stops_at_once_and_keeps_what_was_saved(run, monkeypatch):
    assert run("r", stop_after=2).status == 130
    before = Path("runs/r/latest_state.pth").read_bytes()

    def save(*args: Any) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(TrainingState, "save", save)
    monkeypatch.setattr("util.signals.SAME_SIGNAL", 0)
    result = run("r", "--continue_train", stop_after=1)
    assert result.status == 130 and "stopped at once" in result.err
    assert Path("runs/r/latest_state.pth").read_bytes() == before


def test_a_complete_run_says_so_and_a_longer_one_goes_on(run):
    assert run("r").status == 0
    before, log = weights("r"), Path("runs/r/loss_log.txt").read_bytes()
    again = run("r", "--continue_train")
    assert again.status == 0 and "nothing to train after epoch 3" in again.out
    assert equal(weights("r"), before) and Path("runs/r/loss_log.txt").read_bytes() == log
    longer = run("r", "--continue_train", "--n_epochs_decay", "2")
    assert longer.status == 0 and "--n_epochs_decay 1 -> 2" in longer.out
    assert "epoch 4/4" in longer.out and "epoch 3/4" not in longer.out
    assert [epoch for epoch, _, _ in losses("r")][-5:] == [4] * 5


def test_changed_flags_are_said_and_those_of_the_networks_refused(run):
    run("r", stop_after=2)
    changed = run("r", "--continue_train", "--lr", "0.001", "--beta1", "0.9", stop_after=1)
    assert "--lr 0.0002 -> 0.001" in changed.out and "--beta1 0.5 -> 0.9" in changed.out
    group = state("r")["optimizers"]["G"]["param_groups"][0]
    assert group["lr"] == 0.001 and tuple(group["betas"]) == (0.9, 0.999)
    for flags, word in (
        (["--ngf", "8"], "--ngf"),
        (["--lambda_GAN", "0", "--print_freq", "2"], "was saved: --lambda_GAN 1.0 -> 0.0\n"),
        (["--model", "cycle_gan"], "--model pix2pix -> cycle_gan"),
    ):
        result = run("r", "--continue_train", *flags)
        assert result.status == 2 and word in result.err, result.err
        assert len(result.err.splitlines()) == 1


def test_another_number_of_images_is_said(run):
    run("r", stop_after=7)
    draw_pairs(Path("data"), count=8)
    result = run("r", "--continue_train")
    assert result.status == 0
    assert "8 training images, 5 in the checkpoint: the rest of epoch 2" in result.out
    assert "when it was saved" not in run("r", "--continue_train", "--n_epochs", "3").out


@pytest.mark.parametrize("flags", [["--epoch", "3"], ["--load_iter", "100"]])
def test_weights_chosen_for_a_run_that_starts_afresh_are_said_to_be_passed_over(run, flags):
    assert f"{flags[0]} is ignored" in run("r", *flags, stop_after=1).out


@pytest.mark.parametrize(("count", "said"), [("3", True), ("2", False)])
def test_an_epoch_count_beside_a_state_is_said_to_be_passed_over(run, count, said):
    run("r", stop_after=6)
    result = run("r", "--continue_train", "--epoch_count", count)
    assert result.status == 0 and ("resumes in epoch 2" in result.out) == said
    assert "epoch 2/3" in result.out


def test_without_a_state_the_weights_go_on_and_what_is_fresh_is_said(run):
    run("r", stop_after=6)
    os.remove("runs/r/latest_state.pth")
    os.remove("runs/r/latest_net_D.pth")
    result = run("r", "--continue_train", "--epoch_count", "2")
    assert result.status == 0
    assert (
        "network D starts from scratch" in result.out
        and "the optimizers start from scratch" in result.out
    )
    assert "epoch 2/3" in result.out and "epoch 1/3" not in result.out
    assert len(losses("r")) == 6 + 10  # lines of before stay


def test_another_epoch_is_gone_on_with_from_its_weights(run):
    run("r", "--save_epoch_freq", "1")
    result = run("r", "--continue_train", "--epoch", "1", "--epoch_count", "3")
    assert result.status == 0 and "loaded runs/r/1_net_G.pth" in result.out
    assert "epoch 3/3" in result.out and "epoch 2/3" not in result.out


def test_a_resume_keeps_the_lines_of_before_a_start_from_weights(run):
    run("r", "--save_epoch_freq", "1", "--val_freq", "1")
    run("r", "--continue_train", "--epoch", "1", stop_after=7)
    assert run("r", "--continue_train").status == 0
    assert [entry[:2] for entry in losses("r")] == [
        (e, i) for e in (1, 2, 3) for i in range(1, 6)
    ] * 2
    lines = Path("runs/r/val_log.csv").read_text().splitlines()
    assert [line[:1] for line in lines] == ["e", "1", "2", "3", "1", "2", "3"]


@pytest.mark.parametrize("content", [b"", b"x" * 1000, "text", {"version": 99}, [1], {}])
def test_a_state_that_cannot_be_used_is_refused_with_the_way_out(run, content):
    run("r", stop_after=1)
    path = Path("runs/r/latest_state.pth")
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    result = run("r", "--continue_train")
    assert result.status == 2 and len(result.err.splitlines()) == 1
    assert "latest_state.pth" in result.err and "delete it" in result.err


@pytest.mark.parametrize("part", ["optimizers", "pools", "random", "progress", "schedulers"])
def test_a_state_with_a_wrong_part_is_refused(run, part):
    run("r", stop_after=1)
    saved = state("r")
    torch.save({**saved, part: [{"images": 3}]}, "runs/r/latest_state.pth")
    result = run("r", "--continue_train", "--lr_policy", "plateau")
    assert result.status == 2 and len(result.err.splitlines()) == 1
    assert "does not fit this training" in result.err or f"{part} is damaged" in result.err


def test_the_state_is_tensors_and_plain_python_without_numpy(run):
    run("r", stop_after=3)

    def kinds(value: Any) -> set[type]:
        if isinstance(value, dict):
            return {type(value)} | {k for v in value.values() for k in kinds(v)}
        if isinstance(value, list | tuple):
            return {type(value)} | {k for v in value for k in kinds(v)}
        return {type(value)}

    found = kinds(state("r"))
    plain = {dict, list, tuple, torch.Tensor, int, float, str, bool, type(None)}
    assert {kind.__name__ for kind in found - plain} <= {"OrderedDict"}


def test_no_state_is_read_where_none_is_asked_for(tmp_path):
    (tmp_path / "experiment_name").mkdir()
    (tmp_path / "experiment_name/latest_state.pth").write_bytes(b"damaged")
    read = lambda *flags: TrainOptions().read(["--checkpoints_dir", str(tmp_path), *flags])  # noqa: E731
    assert read_state(read()) is None
    assert read_state(read("--continue_train", "--epoch", "5")) is None
    assert read_state(read("--continue_train", "--load_iter", "5")) is None
    refusal(lambda: read_state(read("--continue_train")), "latest_state.pth", "damaged")
