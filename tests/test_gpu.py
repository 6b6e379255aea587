"""What only a GPU shows; without one, all of this is skipped."""

from pathlib import Path

import pytest
import torch
from conftest import TINY, random_batch, result_images, step
from support.holes import INPAINT, draw_photos
from support.servers import free_port
from support.torchruns import ROOT, draw_houses, drive_in_two, ours, torchrun
from support.training_plans import deviation, double_batch, double_nets, drive

from models.contextual_attention import contextual_attention
from models.data_parallel import average_gradients
from models.segmenter import train
from training.cuda_graphs import WARM_UP, CudaGraphs, CudaRecorder
from util.distributed import launch
from util.metrics import compare

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")

# Rounding must not hide behind TF32; an epoch of five images ends with a batch of one.
FLAGS = [*TINY, "--gpu_ids", "0", "--precision", "fp32", "--no_graphs", "--batch_size", "2"]
FLAGS += ["--no_dropout", "--norm", "instance", "--pool_size", "0"]
MODELS = {
    "pix2pix": [],
    "pix2pix, sync_batch": ["--norm", "sync_batch"],
    "cycle_gan": ["--model", "cycle_gan"],
    "colorization": ["--model", "colorization"],
}


def test_training_a_segmenter_leaves_the_random_state_of_the_gpu():
    torch.cuda.manual_seed(5)
    before = torch.cuda.get_rng_state()
    photos, classes = torch.zeros(1, 32, 32, 3, dtype=torch.uint8), torch.zeros(1, 32, 32).long()
    train(photos, classes, 2, 1, torch.device("cuda"))
    assert torch.equal(torch.cuda.get_rng_state(), before)


def test_a_run_goes_on_and_is_tested(command, caplog, pairs):
    flags = ["--dataroot", pairs, "--name", "run", "--gpu_ids", "0"]
    train = [*TINY, *flags, "--pool_size", 2, "--val_freq", 1, "--ema", 0.9]
    for n_epochs, more in ((3, []), (5, ["--continue_train"])):  # nine steps: most are replayed
        done = command("train", *train, "--n_epochs", n_epochs, *more)
        assert done.status == 0, done.err
        assert f"(epoch: {n_epochs}, val) L1: " in caplog.text and "CPU" not in caplog.text
    assert command("test", *flags, "--epoch", "best", "--use_ema").status == 0
    assert len(result_images("run", "test_best_ema")) == 9


def test_diffaug_and_r1_train_beside_graphs(command, caplog, pairs):
    flags = ["--dataroot", pairs, "--name", "run", "--gpu_ids", "0", "--n_epochs", 7]
    switches = ["--diffaug", "color,translation,cutout", "--lambda_r1", 0.1, "--norm_D", "spectral"]
    done = command("train", *TINY, *flags, *switches, "--print_freq", 1)  # 21 steps, one with R1
    assert done.status == 0, done.err
    assert "R1, in every 16th step, is not in a CUDA graph" in caplog.text
    assert "nan" not in Path("checkpoints/run/loss_log.txt").read_text()


def test_metrics_are_those_of_the_cpu():
    torch.manual_seed(0)
    fake, real = (torch.randint(0, 256, (2, 3, 180, 180), dtype=torch.uint8) for _ in "ab")
    found, wanted = compare(fake.cuda(), real.cuda()), compare(fake, real)
    for name, values in wanted.items():
        torch.testing.assert_close(found[name], values, rtol=1e-9, atol=0)


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("block", [300, 1 << 23])
def test_contextual_attention_is_that_of_the_cpu(fuse, block):
    torch.manual_seed(0)
    x, mask = torch.randn(2, 5, 24, 18, dtype=torch.float64), torch.zeros(2, 1, 24, 18).double()
    mask[0, :, 3:9, 4:7], mask[1, :, 10:, :5] = 1, 1
    found = []
    for device in ("cpu", "cuda"):
        leaf = x.to(device).requires_grad_()
        y = contextual_attention(leaf, mask.to(device), fuse=fuse, block=block)
        y.square().sum().backward()
        found.append((y.detach().cpu(), leaf.grad.cpu()))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


def test_a_run_that_fills_holes_goes_on_and_is_tested(command, tmp_path):
    place = ["--dataroot", draw_photos(tmp_path / "photos"), "--name", "run", "--gpu_ids", "0"]
    train = [*TINY, *INPAINT, *place, "--batch_size", 1, "--val_freq", 1]
    for n_epochs, more in ((3, []), (5, ["--continue_train"])):
        done = command("train", *train, "--n_epochs", n_epochs, *more)
        assert done.status == 0, done.err
    assert command("test", *place).status == 0
    assert len(result_images("run")) == 12


def test_two_processes_on_a_gpu_train_what_one_trains(tmp_path):
    place = ["--dataroot", draw_houses(tmp_path / "houses", 5), "--checkpoints_dir", tmp_path]
    flags = [[*FLAGS, *place, "--name", name, *own] for name, own in MODELS.items()]
    plans = [{"flags": [*map(str, chosen)], "steps": 12, "double": True} for chosen in flags]
    of_two = drive_in_two(plans, tmp_path, "share_a_gpu")
    for name, plan, two in zip(MODELS, plans, of_two, strict=True):
        apart = deviation(drive(plan)["losses"], two["losses"])
        print(f"{name}: {apart:.1e}")
        assert apart < 1e-9 and two["equal"] and two["processes"] == 2, name


def test_a_gpu_for_each_process_is_asked_for(pairs):
    count = torch.cuda.device_count()
    flags = ["--dataroot", pairs, "--checkpoints_dir", pairs, "--batch_size", count + 1]
    done = torchrun(count + 1, ROOT / "train.py", *flags)
    (line,) = ours(done.stderr)
    assert f"--nproc_per_node={count} starts one" in line


@pytest.fixture
def nccl(monkeypatch):
    """A process group of this process alone."""
    place = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port())}
    for name, value in (place | {"RANK": "0", "WORLD_SIZE": "1"}).items():
        monkeypatch.setenv(name, value)
    watch = launch._join()
    yield
    watch.stop()
    launch._leave()


@pytest.mark.parametrize("graphs", [False, True])
def test_nccl_leaves_one_process_its_gradients(make, nccl, graphs):
    """With graphs, the exchange of the gradients is captured and replayed."""
    alone, shared = (make(*FLAGS) for _ in "ab")
    double_nets(alone)
    double_nets(shared)
    for optimizer in shared.optimizers.values():
        optimizer.register_step_pre_hook(average_gradients)
    found = CudaGraphs(shared, CudaRecorder(shared.device)) if graphs else None
    for seed in range(WARM_UP + 4):
        batch = double_batch(random_batch(size=2, seed=seed))
        losses = [step(model, batch).get_current_losses() for model in (alone, shared)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-6)  # they are rounded to float32
    assert found is None or found.modes["replay"] == 3
