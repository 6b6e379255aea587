"""What several processes share, and what each has of its own (real ones: test_two_processes)."""

import copy
import json
import logging
import os
import shlex
import subprocess
import threading
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import TINY, random_batch, refusal
from conftest import step as train_step

import train
from data.sampler import EpochBatchSampler
from models.data_parallel import (
    check_second_derivatives,
    global_batch_size,
    loss_weight,
    with_sync_batch,
)
from scripts.dev import scaling
from training import run_lock
from training.ema import EMA
from training.resume import pools_of_rank
from training.run_lock import LaunchInfo, lock_run_folder
from training.state import Progress, TrainingState
from util import distributed
from util.command import setup_logging
from util.device import pick_device
from util.distributed import heartbeat, launch
from util.distributed.heartbeat import FAILED, Heartbeat
from util.errors import RunStopped
from util.image_pool import ImagePool

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def be(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Be process `number` of `count` on one machine, without the others."""

    def become(number: int, count: int) -> None:
        monkeypatch.setattr(distributed, "rank", lambda: number)
        monkeypatch.setattr(distributed, "world_size", lambda: count)
        for module in ("util.image_pool", "models.data_parallel"):
            monkeypatch.setattr(f"{module}.world_size", lambda: count)
            monkeypatch.setattr(f"{module}.rank", lambda: number)
        monkeypatch.setattr(distributed, "local_rank", lambda: number)
        monkeypatch.setattr(distributed, "local_world_size", lambda: count)

    return become


# Batches ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 4, 7, 12, 13])
@pytest.mark.parametrize(("batch", "count"), [(2, 2), (4, 2), (3, 3), (8, 4)])
def test_the_parts_of_all_processes_are_the_batches_of_one(be, size, batch, count):
    for epoch, done in ((1, 0), (2, 0), (3, min(size, batch))):
        alone = EpochBatchSampler(size, batch, shuffle=True, seed=3)
        alone.epoch, alone.done = epoch, done
        whole, found = list(alone), []
        for number in range(count):
            be(number, count)
            one = EpochBatchSampler(size, batch, shuffle=True, seed=3)
            one.split_by_rank()
            one.epoch, one.done = epoch, done
            found.append(list(zip(one, one.batch_sizes(), strict=True)))
            assert len(one) == len(whole)
        for step, together in enumerate(whole):
            parts = [batches[step] for batches in found]
            counted = [key for keys, (mine, _) in parts for key in keys[:mine]]
            assert counted == together
            assert all(keys and part[1] == len(together) for keys, part in parts)
            shares = [loss_weight({"part": part}) for _, part in parts]
            assert sum(shares) / count == pytest.approx(1)
            assert {global_batch_size({"part": part}) for _, part in parts} == {len(together)}
            sizes = [part[0] for _, part in parts]
            assert max(sizes) - min(sizes) <= 1


def test_one_process_has_whole_batches_and_no_parts():
    batches = EpochBatchSampler(5, 2, shuffle=False, seed=0)
    assert list(batches) == [[(1, 0), (1, 1)], [(1, 2), (1, 3)], [(1, 4)]]
    assert list(batches.batch_sizes()) == [None] * 3 and loss_weight({}) == 1
    batches.restrict_to({1, 4})
    assert list(batches) == [[(1, 1), (1, 4)]]


def test_a_batch_without_a_part_counts_as_an_even_one(be):
    be(1, 2)
    batch = {"A": torch.zeros(3, 1, 1, 1)}
    assert loss_weight(batch) == 1 and global_batch_size(batch) == 6


@pytest.mark.parametrize(
    ("part", "weight"), [((1, 3), 2 / 3), ((2, 3), 4 / 3), ((0, 1), 0), ((1, 1), 2), ((2, 4), 1)]
)
@pytest.mark.parametrize(
    "flags",
    [
        ["--model", "pix2pix"],
        ["--model", "cycle_gan", "--netG", "resnet_6blocks"],
        ["--model", "template"],
        ["--grad_accum", "2"],
    ],
)
def test_the_gradients_of_an_uneven_batch_count_by_its_images(be, make, flags, part, weight):
    """Each rank's mean times its weight: then the mean over the ranks is that over all images."""
    found = []
    for number in (0, 1):  # without a part, and with it
        be(0, 1)
        model = make(*flags, "--norm", "instance", "--no_dropout", "--lr", "0")
        be(0, 2)
        gradients: list[torch.Tensor] = []
        for optimizer in model.optimizers.values():
            optimizer.register_step_pre_hook(partial(note_gradient, gradients))
        batch = random_batch(size=2) | ({"part": part} if number else {})
        # Of several batches, each also counts by its share of all images.
        model.train_on([batch, batch] if "--grad_accum" in flags else [batch])
        found.append(gradients)
        if "--grad_accum" not in flags:
            assert model.loss_weight == pytest.approx(weight if number else 1)
    for plain, weighted in zip(*found, strict=True):
        torch.testing.assert_close(weighted, plain * weight)
        assert plain.abs().max() > 0


def note_gradient(found: list[torch.Tensor], optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Note the gradient of one weight before a step."""
    found.append(optimizer.param_groups[0]["params"][-2].grad.clone())


def test_the_statistics_of_all_ranks_are_averaged_before_a_save(be, make, monkeypatch, tmp_path):
    model = make("--norm", "batch")
    state = TrainingState(model.opt, model, Progress(), EMA(model.nets, 0.5))
    train_step(model, random_batch(size=2))
    before = {net: copy.deepcopy(model.nets[net].state_dict()) for net in "GD"}
    be(0, 2)
    others = lambda tensors: [tensors, [t + 1 for t in tensors]]  # noqa: E731
    monkeypatch.setattr("models.data_parallel.all_gather", others)
    state.save_networks("latest")
    for net, values in before.items():
        saved = torch.load(tmp_path / f"run/latest_net_{net}.pth", weights_only=True)
        kept = [key for key in values if "running" in key]
        for key in values:
            torch.testing.assert_close(
                saved[key], values[key] + 0.5 if key in kept else values[key]
            )
            assert torch.equal(saved[key], model.nets[net].state_dict()[key])  # what a state holds
        assert kept
    ema = torch.load(tmp_path / "run/latest_net_G_ema.pth", weights_only=True)
    assert all(
        torch.equal(ema[key], value) for key, value in state.ema.nets["G"].state_dict().items()
    )
    assert min(ema[key].min() for key in ema if key.endswith("running_mean")) == 0.5


# What each has of its own ------------------------------------------------------------------


def test_pools_are_parts_of_one_with_noise_of_their_own(be):
    pools = []
    for number in range(3):
        be(number, 3)
        pools.append(ImagePool(50, seed=4))
    assert [pool.pool_size for pool in pools] == [17] * 3
    be(0, 1)
    alone = ImagePool(50, seed=4)
    assert alone.pool_size == 50 and alone.random.random() == pools[0].random.random()
    assert len({pool.random.random() for pool in [alone, *pools[1:]]}) == 3


def pool_of(values: list[int], size: int = 4) -> ImagePool:
    pool = ImagePool(size, seed=len(values))
    pool.images = [torch.full((1, 1, 1), float(value)) for value in values]
    return pool


@pytest.mark.parametrize(("before", "now"), [(2, 1), (1, 2), (2, 3), (3, 2)])
def test_images_of_all_pools_are_shared_out_anew(be, caplog, before, now):
    caplog.set_level(logging.INFO)
    be(0, 1)
    values = [[10 * n, 10 * n + 1] for n in range(before)]
    saved = [{"pool": pool_of(images).state_dict()} for images in values]
    restored = []
    for number in range(now):
        be(number, now)
        pool = ImagePool(12, seed=0)
        pool.load_state_dict(pools_of_rank(saved)["pool"])
        restored += [int(image) for image in pool.images]
    assert sorted(restored) == sorted(sum(values, []))
    assert f"from {before} to {now}" in caplog.text


def test_the_same_number_of_processes_goes_on_as_it_was(be, caplog):
    caplog.set_level(logging.INFO)
    be(0, 1)
    saved = [{"pool": pool_of([1, 2]).state_dict()}, {"pool": pool_of([3]).state_dict()}]
    be(1, 2)
    pool = ImagePool(8, seed=0)
    pool.load_state_dict(pools_of_rank(saved)["pool"])
    assert [int(image) for image in pool.images] == [3] and not caplog.text
    assert pool.random.getstate() == saved[1]["pool"]["random"]


# Flags -----------------------------------------------------------------------------------


def test_an_uneven_batch_is_refused(be, tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "broadcast_from_main", lambda value: value)
    be(0, 4)
    flags = [*TINY, "--checkpoints_dir", str(tmp_path), "--batch_size"]
    start = [run_lock.launch_info()]
    words = ["--batch_size 6", "4 processes", "multiple of 4"]
    refusal(lambda: train.parse([*flags, "6"], start), *words)
    assert train.parse([*flags, "8"], start).batch_size == 8


def test_several_gpus_in_one_process_say_which_line_to_use(tmp_path, caplog, monkeypatch):
    monkeypatch.delenv("UV", raising=False)
    flags = ["--gpu_ids", "0,1", "--name", "two words", "--checkpoints_dir", str(tmp_path)]
    train.parse(flags, [run_lock.launch_info()])
    assert not caplog.messages  # there are no GPUs
    monkeypatch.setattr(train, "gpu_count", lambda: 2)
    train.parse(flags, [run_lock.launch_info()])
    line = f"torchrun --nproc_per_node=2 train.py {shlex.join(flags)}"
    assert caplog.messages[-1].endswith(line)
    train.parse([*flags, "--batch_size", "3"], [run_lock.launch_info()])
    assert caplog.messages[-1].endswith(f"{line} --batch_size 3 --batch_size 2")
    caplog.clear()
    train.parse(["--gpu_ids", "1", *flags[2:]], [run_lock.launch_info()])
    assert not caplog.messages


def test_each_process_of_a_machine_has_a_gpu_of_its_own(be, monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    be(1, 2)
    assert pick_device([0]) == pick_device([0, 1]) == torch.device("cuda", 1)
    assert pick_device([2, 3]) == torch.device("cuda", 3) == chosen[-1]
    assert pick_device([]) == torch.device("cpu")
    refusal(lambda: pick_device([1]), "--gpu_ids 1", "2 processes", "--nproc_per_node=1")
    refusal(lambda: pick_device([0, 1, 2]), "--gpu_ids 0,1,2", "--nproc_per_node=3")
    be(4, 5)
    refusal(lambda: pick_device([0]), "5 processes", "has 4 GPUs", "--nproc_per_node=4")


def test_the_scaling_script_wants_torchrun():
    refusal(lambda: scaling.main(["--gpu_ids", "-1"]), "torchrun --nproc_per_node=2")


def test_the_scaling_table_compares_medians():
    seconds = {"whole": [2.0, 4.0, 3.0], "part": [1.5], "together": [2.0], "exchange": [0.5]}
    text = scaling.table(seconds, batch=4, count=2, exchanged=10**6)
    assert "| whole | 3.000 | 2.000–4.000 | 1.33 |" in text
    assert "| together | 2.000 | 2.000–2.000 | 2.00 |" in text
    assert (
        "same batch: 1.50×" in text
        and "75% of the speed without" in text
        and "25% of a step" in text
    )


# Starting again -----------------------------------------------------------------------------


@pytest.fixture
def started(tmp_path: Path) -> Any:
    """Start a job: what its processes tell of it; return the flags by which it goes on."""
    (tmp_path / "run").mkdir()

    def start(*starts: tuple[str, str, int]) -> list[str]:
        told = [LaunchInfo(*start) for start in starts]
        flags = run_lock.restart_flags(tmp_path / "run", told)
        with lock_run_folder(tmp_path / "run", run_lock.job_record(tmp_path / "run", told)):
            pass
        return list(flags)

    return start


def save(folder: Path, text: str) -> None:
    (folder / "run/latest_state.pth").write_text(text)


def test_a_job_that_is_started_anew_goes_on_from_its_own_state(started, tmp_path):
    save(tmp_path, "of an older run")
    assert started(("a", "/t", 0)) == []
    assert started(("a", "/t", 1)) == []  # it has saved nothing
    save(tmp_path, "of this run, saved")
    for attempt in (2, 3):
        assert "--continue_train" in started(("a", "/t", attempt))


def test_a_requeued_job_goes_on_too(started, tmp_path):
    assert started(("77", "", 0)) == []
    save(tmp_path, "saved")
    assert "--continue_train" in started(("77", "", 1))
    assert started(("78", "", 0)) == []


def test_one_machine_that_counts_is_enough(started, tmp_path):
    assert started(("a", "/t1", 0), ("a", "/t2", 0)) == []
    save(tmp_path, "saved")
    assert "--continue_train" in started(("a", "/t3", 0), ("a", "/t4", 1))


def test_a_machine_that_was_there_before_is_enough(started, tmp_path):
    """As if a machine had joined or left: no agent counts that."""
    assert started(("a", "/t1", 0), ("a", "/t2", 0)) == []
    save(tmp_path, "saved")
    assert "--continue_train" in started(("a", "/t3", 0), ("a", "/t2", 0))
    save(tmp_path, "saved again")
    assert "--continue_train" in started(("a", "/t3", 0))


def test_a_new_job_of_that_name_begins_anew(started, tmp_path):
    assert started(("a", "/t1", 0)) == []
    save(tmp_path, "of a")
    assert "--continue_train" in started(("a", "/t1", 1))
    assert started(("a", "/t5", 0)) == []  # torchrun with the same --rdzv_id
    save(tmp_path, "of a, the second")
    assert started(("b", "/t6", 0)) == []
    assert started(("b", "/t6", 1)) == []
    save(tmp_path, "of b, which is longer")
    assert "--continue_train" in started(("b", "/t6", 2))
    assert started(("c", "/t7", 1)) == []  # its first attempt did not come so far


def test_how_a_process_was_started_stands_in_its_environment(monkeypatch):
    names = ("TORCHELASTIC_RUN_ID", "TORCHELASTIC_ERROR_FILE", "TORCHELASTIC_RESTART_COUNT")
    for name in (*names, "SLURM_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    assert run_lock.launch_info() == LaunchInfo("", "", 0)
    for name, value in zip(names, ("7", "/tmp/x/7_y/attempt_0/0/error.json", "2"), strict=True):
        monkeypatch.setenv(name, value)
    assert run_lock.launch_info() == LaunchInfo("7", "/tmp/x/7_y", 2)
    monkeypatch.setenv("SLURM_JOB_ID", "123")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert run_lock.launch_info() == LaunchInfo("123", "/tmp/x/7_y", 3)


def test_a_restart_goes_on_whatever_it_began_with(command, tmp_path, monkeypatch, pairs, caplog):
    flags = [*TINY, "--dataroot", pairs, "--name", "r", "--n_epochs", 2]
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert command("train", *flags, "--save_epoch_freq", 1).status == 0
    begun = ["--continue_train", "--epoch", "1", "--n_epochs", 3]
    assert command("train", *flags, *begun).status == 0
    assert "network G: loaded checkpoints/r/1_net_G.pth" in caplog.text
    caplog.clear()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert command("train", *flags, *begun, "--n_epochs", 4).status == 0
    assert "resuming from checkpoints/r/latest_state.pth" in caplog.text
    assert "restarted after a failure" in caplog.text


# Watching --------------------------------------------------------------------------------


class Store:
    """A store of torch.distributed, as far as the watch knows it."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def clone(self) -> "Store":
        return self

    def set(self, key: str, value: str) -> None:
        self.values[key] = value.encode()

    def multi_get(self, keys: list[str]) -> list[bytes]:
        return [self.values[key] for key in keys]

    def check(self, keys: list[str]) -> bool:
        return all(key in self.values for key in keys)

    def add(self, key: str, amount: int) -> int:
        value = int(self.values.get(key, b"0")) + amount
        self.values[key] = str(value).encode()
        return value


def watches(monkeypatch: pytest.MonkeyPatch, count: int = 2) -> list[Heartbeat]:
    """Return watches that have met but do not look by themselves."""
    monkeypatch.setattr(heartbeat.threading.Thread, "start", lambda thread: None)
    monkeypatch.setattr(heartbeat, "PULSE", 0.2)
    store = Store()
    found = [Heartbeat(store, n, count) for n in range(count)]
    for watch in found:
        watch.start()
    return found


def ended_process() -> int:
    done = subprocess.Popen(["true"])
    done.wait()
    return done.pid


def test_a_live_process_is_left_alone_and_a_killed_one_is_named(monkeypatch):
    one, _ = watches(monkeypatch)
    assert one.find_dead_rank() == ""
    pid = ended_process()
    one.who[1] = (one.who[1][0], "/", str(pid))
    if not one.who[1][0]:
        pytest.skip("this system does not tell machines apart")
    assert one.find_dead_rank() == f"process 1 of 0..1 (pid {pid}) was killed"
    reason = one.name_the_dead_rank(
        RuntimeError("[gloo/pair.cc] Connection closed by peer [127.0.0.1]")
    )
    assert isinstance(reason, RunStopped) and "was killed" in str(reason)
    assert "--continue_train" in str(reason) and "\n" not in str(reason)


def test_a_process_that_is_done_is_not_missed(monkeypatch):
    one, two = watches(monkeypatch)
    one.who[1] = (one.who[1][0], "/", str(ended_process()))
    two.stop()
    assert one.find_dead_rank() == ""


def test_a_process_that_failed_ends_the_others(monkeypatch):
    one, two = watches(monkeypatch)
    two.stop(FAILED)
    assert one.find_dead_rank() == "process 1 of 0..1 has ended"


def test_no_watch_is_inside_the_engine_when_python_ends(monkeypatch):
    monkeypatch.setattr(heartbeat, "PULSE", 0)
    watch, inside = Heartbeat(Store(), 0, 1), threading.Event()
    monkeypatch.setattr(watch, "find_dead_rank", lambda: inside.set() or time.sleep(0.3) or "")
    watch.start()
    assert inside.wait(10)
    watch.stop()
    assert not watch.thread.is_alive()


def test_silence_is_noticed_on_other_machines(monkeypatch):
    one, two = watches(monkeypatch)
    one.who[1] = ("another machine", "/", str(ended_process()))
    now = 100.0
    monkeypatch.setattr(heartbeat.time, "monotonic", lambda: now)
    assert one.find_dead_rank() == ""
    now += heartbeat.SILENCE - 1
    assert one.find_dead_rank() == ""
    one.store.set("beat/1", "1")
    now += heartbeat.SILENCE - 1
    assert one.find_dead_rank() == ""
    now += heartbeat.SILENCE + 1
    assert (
        one.find_dead_rank()
        == f"nothing was heard of process 1 of 0..1 for {heartbeat.SILENCE:.0f} s"
    )
    assert two.find_dead_rank() == ""


def test_errors_of_the_training_stay_what_they_are(monkeypatch):
    one, _ = watches(monkeypatch)
    for error in (RuntimeError("shapes do not fit"), ValueError("connection"), KeyError("x")):
        assert one.name_the_dead_rank(error) is error


def test_a_lost_store_is_said(monkeypatch):
    one, _ = watches(monkeypatch)
    one.store.multi_get = lambda keys: 1 / 0
    reason = one.name_the_dead_rank(RuntimeError("Connection reset by peer"))
    assert heartbeat.STORE_LOST in str(reason)


def test_one_process_speaks_and_the_first_goes_first(monkeypatch):
    one, two, three = watches(monkeypatch, 3)
    assert [one.is_first_to_report(), two.is_first_to_report(), three.is_first_to_report()] == [
        True,
        False,
        False,
    ]
    one, two, three = watches(monkeypatch, 3)
    assert [three.is_first_to_report(), two.is_first_to_report(), one.is_first_to_report()] == [
        True,
        False,
        False,
    ]


def test_without_a_store_the_first_that_lives_speaks(monkeypatch):
    one, two, three = watches(monkeypatch, 3)
    one.store.add = lambda key, amount: 1 / 0
    if not one.who[0][0]:
        pytest.skip("this system does not tell machines apart")
    assert [one.is_first_to_report(), two.is_first_to_report(), three.is_first_to_report()] == [
        True,
        False,
        False,
    ]
    two.who[0] = (two.who[0][0], "/", str(ended_process()))
    assert two.is_first_to_report()


def test_all_processes_are_heard_of_what_they_alone_know(caplog):
    setup_logging()
    before = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    try:
        logging.getLogger("data").warning("one")
        logging.getLogger("every process").warning("two")
    finally:
        logging.getLogger().setLevel(before)
    assert caplog.messages == ["two"]


# Templates -------------------------------------------------------------------------------


def run_template(tmp_path: Path, script: str, *flags: str, **variables: str) -> list[str]:
    """Run a template with commands that write down what they are called with."""
    for name, text in (
        ("scontrol", "seq -f node%.0f 20000"),  # more than a pipe holds
        ("srun", '"$@"'),
        ("start", 'printf "%s\\n" "$@"'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    environment = {"PATH": path, "PYTHON": "start", "TORCHRUN": "start", **variables}
    line = ["bash", str(ROOT / "scripts" / script), *flags]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_the_slurm_template_starts_an_agent_a_machine(tmp_path):
    called = run_template(
        tmp_path,
        "slurm_train.sh",
        *("--name", "two words", "--batch_size", "8"),
        **{"SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NNODES": "2", "SLURM_JOB_ID": "1234"},
        SLURM_GPUS_ON_NODE="4",
    )
    assert called[:2] == ["--nnodes=2", "--nproc_per_node=4"]
    assert "--rdzv_endpoint=node1:29734" in called and "--rdzv_id=1234" in called
    assert called[-5:] == ["train.py", "--name", "two words", "--batch_size", "8"]


@pytest.mark.parametrize("script", ["slurm_train.sh", "slurm_test.sh"])
def test_a_slurm_template_outside_slurm_says_how_it_is_started(script):
    line = ["bash", str(ROOT / "scripts" / script)]
    done = subprocess.run(line, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True)
    assert done.returncode and f"sbatch scripts/{script}" in done.stderr


def test_the_slurm_array_shares_out_the_images(tmp_path):
    ids = {"SLURM_ARRAY_TASK_COUNT": "8", "SLURM_ARRAY_TASK_ID": "3"}
    called = run_template(tmp_path, "slurm_test.sh", "--name", "r", **ids)
    assert called == shlex.split("test.py --num_shards 8 --shard_id 3 --name r")
    again = {"SLURM_ARRAY_TASK_COUNT": "1", "SLURM_ARRAY_TASK_ID": "3", "SHARDS": "8"}
    assert run_template(tmp_path, "slurm_test.sh", "--name", "r", **again) == called


def test_outside_torchrun_nothing_is_started(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with launch.process_group():
        assert (distributed.world_size(), distributed.rank(), distributed.is_main_process()) == (
            1,
            0,
            True,
        )
        assert distributed.all_gather(7) == [7] and distributed.broadcast_from_main(8) == 8
    assert not torch.distributed.is_initialized()


def test_the_lock_says_what_a_run_began_with(tmp_path):
    with lock_run_folder(tmp_path / "run", {"job": "7", "found": ""}):
        kept = json.loads((tmp_path / "run/.lock").read_text())
    assert kept["job"] == "7" and kept["process"] == os.getpid()


@pytest.mark.parametrize(("gan_mode", "lambda_r1"), [("wgangp", 0.0), ("lsgan", 0.1)])
def test_a_gradient_penalty_needs_a_norm_with_a_second_derivative(gan_mode, lambda_r1):
    opt = SimpleNamespace(gan_mode=gan_mode, lambda_r1=lambda_r1)
    flag = "--norm sync_batch"
    refusal(lambda: check_second_derivatives(flag, ["G", "D"], opt), flag, "second derivative")
    check_second_derivatives(flag, ["G"], opt)
    check_second_derivatives(flag, ["D"], SimpleNamespace(gan_mode="lsgan", lambda_r1=0.0))


def test_a_norm_of_D_is_not_that_of_all_ranks() -> None:
    nets = ["G", "D"]
    for norm_D, synchronised in (("", ["G", "D"]), ("spectral", ["G"])):
        opt = SimpleNamespace(norm="sync_batch", norm_D=norm_D)
        assert with_sync_batch(nets, opt)[1] == synchronised
