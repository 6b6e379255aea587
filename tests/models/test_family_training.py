"""Training steps of SPADE and pix2pixHD on real label maps: losses and weights as recorded."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.recorded import filled, traces

from data import create_dataset
from models import create_model
from options.train_options import TrainOptions
from util.files import ROOT

COCO = ROOT.parent / "shared/datasets/coco_stuff"
SHARED = ["--no_vgg_loss", "--serial_batches", "--no_flip", "--ngf", 8, "--ndf", 8]
SHARED += ["--load_size", 64, "--crop_size", 64, "--gpu_ids", -1, "--num_threads", 0]
DONTCARE = ["--label_nc", 182, "--contain_dontcare_label"]
SPADE = ["--model", "spade", *DONTCARE]
RUNS = {
    "spade_coco": [*SPADE, "--batch_size", 2],
    "spade_custom_noinst_bs1_instance": [
        *(*SPADE, "--batch_size", 1, "--no_instance", "--no_TTUR"),
        *("--norm_G", "spectralspadeinstance3x3"),
    ],
    "hd_coco_global": [
        *("--model", "pix2pixHD", "--label_nc", 256, "--batch_size", 1),
        *("--n_downsample_global", 3, "--n_blocks_global", 2),
    ],
}


@pytest.mark.skipif(not COCO.is_dir(), reason="needs the images of COCO-Stuff")
@pytest.mark.parametrize("name", RUNS)
def test_losses_and_weights_are_those_recorded(tmp_path: Path, name: str) -> None:
    trace = traces("training", name)
    place = ["--dataroot", COCO, "--checkpoints_dir", tmp_path, "--name", "r"]
    model, batches = started([*place, *SHARED, *RUNS[name]])
    if "lrs" in trace:
        rates = [optimizer.param_groups[0]["lr"] for optimizer in model.optimizers.values()]
        assert rates == pytest.approx(trace["lrs"])
    for step, (batch, wanted) in enumerate(zip(batches, trace["losses"], strict=False)):
        model.train_on([batch])
        wanted = {key: value for key, value in wanted.items() if key != "paths"}
        assert model.get_current_losses() == pytest.approx(wanted, rel=0.01 if step == 0 else 0.05)
    assert step == 3
    for key, kept in trace["weights_after"].items():
        net, _, inner = key.partition(".")
        weight = model.nets[net.removeprefix("net")].state_dict()[inner].flatten()
        places = np.linspace(0, weight.numel() - 1, 8).astype(int)
        assert weight[places].tolist() == pytest.approx(kept["samples"], abs=4e-3)


def started(flags: list[Any]) -> Any:
    """Return a model whose networks are filled with the numbers of the record, and its batches."""
    opt = TrainOptions().read(flags)
    dataset = create_dataset(opt)
    model = create_model(opt)
    for net in model.nets.values():
        filled(net)
    model.setup(opt)
    torch.manual_seed(0)
    return model, iter(dataset)
