"""Weights files: whole or not at all, and read without running code."""

import os
import pickle
import struct
import tarfile
import zipfile
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from torch import nn

from util import checkpoint
from util.checkpoint import (
    load_weights,
    mismatches,
    part_that_fits,
    save_weights,
    without_stale_statistics,
)
from util.errors import RunStopped


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "latest_net_G.pth"


@pytest.fixture
def state() -> dict[str, torch.Tensor]:
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    for _ in range(2):
        net(torch.randn(2, 2, 5, 5))
    return net.state_dict()


def refusal(path: Path) -> str:
    """The one line that loading the file ends with."""
    with pytest.raises(ValueError) as error:
        load_weights(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


# Round trip ------------------------------------------------------------------------------


def test_what_is_saved_comes_back_with_its_order_and_types(path, state):
    save_weights(state, path)
    loaded = load_weights(path)
    assert list(loaded) == list(state)
    assert loaded["1.num_batches_tracked"].dtype == torch.int64
    assert loaded["1.num_batches_tracked"] == 2
    for key, value in state.items():
        assert loaded[key].dtype == value.dtype and torch.equal(loaded[key], value)


def test_the_file_is_a_plain_state_dict_of_contiguous_cpu_tensors(path):
    net = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    save_weights(net.state_dict(), path)
    loaded = torch.load(path, weights_only=True)
    assert type(loaded) is dict and list(loaded) == ["weight", "bias"]
    assert loaded["weight"].is_contiguous() and not loaded["weight"].requires_grad
    assert torch.equal(loaded["weight"], net.weight)


def test_saving_leaves_the_network_where_and_as_it_is(path):
    net = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    state, address = net.state_dict(), net.weight.data_ptr()
    save_weights(state, path)
    assert net.weight.data_ptr() == address == state["weight"].data_ptr()
    assert net.weight.is_contiguous(memory_format=torch.channels_last)
    assert net.weight.requires_grad


def test_prefix_of_a_wrapped_network_is_dropped(path, state):
    save_weights({f"module.{key}": value for key, value in state.items()}, path)
    assert list(load_weights(path)) == list(state)


@pytest.mark.parametrize(
    "prefix", ["_orig_mod.", "module.", "module._orig_mod.", "_orig_mod.module.", "module.module."]
)
@pytest.mark.parametrize("key", [None, "state_dict", "model", "params", "generator"])
def test_weights_of_other_programs_load(path, state, prefix, key):
    saved = {f"{prefix}{name}": value for name, value in state.items()}
    others = {"epoch": 3, "best": 0.5, "optimizer": {}}
    torch.save({key: saved, **others} if key else saved, mkdir(path))
    loaded = load_weights(path)
    assert list(loaded) == list(state)
    assert torch.equal(loaded["0.weight"], state["0.weight"])


def test_a_compiled_part_of_a_network_loads(path, state):
    save_weights({f"{k[0]}._orig_mod{k[1:]}": value for k, value in state.items()}, path)
    assert list(load_weights(path)) == list(state)


def test_layers_that_are_called_module_keep_their_name(path):
    net = nn.ModuleDict({"first": nn.ModuleDict({"module": nn.Conv2d(1, 1, 1)})})
    save_weights(net.state_dict(), path)
    assert list(load_weights(path)) == ["first.module.weight", "first.module.bias"]


def mkdir(path: Path) -> Path:
    path.parent.mkdir()
    return path


def test_a_file_in_the_old_format_loads(path, state):
    path.parent.mkdir()
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert torch.equal(load_weights(path)["0.weight"], state["0.weight"])


# Whole or not at all ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "seen"),
    [(OSError("disk full"), RunStopped), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_a_save_that_dies_half_way_leaves_the_old_file_and_nothing_else(
    path, state, monkeypatch, error, seen
):
    save_weights(state, path)
    old = path.read_bytes()

    def die(_, file) -> None:
        file.write(old[: len(old) // 2])
        file.flush()
        raise error

    monkeypatch.setattr(checkpoint.torch, "save", die)
    with pytest.raises(seen):
        save_weights({"other": torch.zeros(9)}, path)
    with pytest.raises(seen):
        save_weights(state, path.with_name("latest_net_D.pth"))
    assert path.read_bytes() == old
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_nobody_ever_sees_a_part_of_the_new_file(path, state, monkeypatch):
    save_weights(state, path)
    old, seen, save = path.read_bytes(), [], torch.save

    def watched(tensors, file) -> None:
        save(tensors, file)
        seen.append((path.read_bytes(), sorted(path.parent.glob("*.pth"))))

    monkeypatch.setattr(checkpoint.torch, "save", watched)
    save_weights({"other": torch.zeros(9)}, path)
    assert seen == [(old, [path])]
    assert list(load_weights(path)) == ["other"]


@pytest.mark.skipif(os.name == "nt", reason="no file modes")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_mode_of_the_file_follows_the_umask(path, state, mask, mode):
    before = os.umask(mask)
    try:
        save_weights(state, path)
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


# What is not loaded ----------------------------------------------------------------------


class Intruder:
    """A pickle of this makes a file when it is loaded."""

    def __init__(self, trace: Path):
        self.trace = trace

    def __reduce__(self):
        return os.system, (f'echo x > "{self.trace}"',)


@pytest.mark.parametrize("writer", ["zip", "old", "pickle"])
def test_code_in_a_file_is_refused_and_does_not_run(path, tmp_path, writer):
    path.parent.mkdir()
    trace = tmp_path / "trace"
    weights = {"weight": torch.zeros(2), "intruder": Intruder(trace)}
    if writer == "pickle":
        path.write_bytes(pickle.dumps({"intruder": weights["intruder"]}, protocol=2))
    else:
        torch.save(weights, path, _use_new_zipfile_serialization=writer == "zip")
    assert "run code" in refusal(path)
    assert not trace.exists()
    if writer == "pickle":
        pickle.loads(path.read_bytes())  # the trap is a live one
        assert trace.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"junk", b"\x80\x02", b"PK\x03\x04", bytes(range(256)), b"<!DOCTYPE html><html></html>"]
    + [b"version https://git-lfs.github.com/spec/v1\n"],
)
def test_junk_is_refused(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    assert "not a checkpoint, " in refusal(path)


def script_of(net: nn.Module, path: Path) -> bytes:
    torch.jit.save(torch.jit.script(net), path)
    return path.read_bytes()


def archive_of(path: Path, mode: str) -> bytes:
    (path.parent / "notes.txt").write_text("x")
    make = "zip" if mode == "zip" else "tar"
    with zipfile.ZipFile(path, "w") if make == "zip" else tarfile.open(path, mode) as file:
        add = file.write if make == "zip" else file.add
        add(path.parent / "notes.txt", "latest_net_G.pth")
    return path.read_bytes()


KINDS = {
    "a web page": lambda path: b"\n <HTML><head>404",
    "git lfs pull": lambda path: b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
    "a TorchScript archive": lambda path: script_of(nn.Conv2d(1, 1, 1), path),
    "a zip archive of latest_net_G.pth; unpack": lambda path: archive_of(path, "zip"),
    "a tar archive; unpack": lambda path: archive_of(path, "w"),
    "packed by gzip": lambda path: archive_of(path, "w:gz"),
    "a safetensors file": lambda path: struct.pack("<Q", 8) + b'{"a":{}}' + bytes(9),
    "an HDF5 file": lambda path: b"\x89HDF\r\n\x1a\n" + bytes(99),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_lies_there_in_place_of_weights_is_said(path, kind):
    content = KINDS[kind](mkdir(path))
    path.write_bytes(content)
    assert kind in refusal(path)


def test_the_python_object_in_a_file_is_named(path):
    torch.save({"weight": torch.zeros(2), "args": Namespace(lr=1)}, mkdir(path))
    assert "argparse.Namespace" in refusal(path)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(path, state, part):
    save_weights(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    assert "not a checkpoint, or damaged" in refusal(path)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"epoch": 3}, "dict"),
        ({"weight": torch.zeros(2), "epoch": 3}, "dict"),
        ({"net": {"weight": torch.zeros(2), "epoch": 3}}, "dict of net"),
        (
            {"netG": {"w": torch.zeros(2)}, "netD": {"w": torch.zeros(2)}},
            "dict of netG, netD; save",
        ),
        (
            {"optimizer": {"state": {}, "param_groups": [{}]}, "epoch": 3},
            "dict of optimizer, epoch",
        ),
        ([torch.zeros(2)], "list"),
        (torch.zeros(2), "Tensor"),
    ],
)
def test_anything_but_a_dict_of_tensors_is_refused(path, content, kind):
    path.parent.mkdir()
    torch.save(content, path)
    assert f"not a state dict of tensors, but {kind}" in refusal(path)


def test_a_folder_is_refused(path):
    path.mkdir(parents=True)
    refusal(path)


def test_an_absent_file_lists_those_that_are_there(path, state):
    assert "--name" in refusal(path)
    for name in ("5_net_G.pth", "10_net_G.pth", "loss_log.txt"):
        save_weights(state, path.with_name(name))
    message = refusal(path)
    assert "of this network there are 5, 10 (choose with --epoch" in message
    assert "loss_log" not in message


# Fitting a network -----------------------------------------------------------------------


def test_stale_statistics_go_and_all_else_stays():
    stale = ("1.running_mean", "1.running_var", "1.num_batches_tracked")
    other = ("0.weight", "1.weight", "unknown", "4.running_mean")
    loaded = dict.fromkeys((*other, *stale), torch.zeros(1))
    wanted = dict.fromkeys(("0.weight", "4.running_mean"), torch.zeros(1))
    assert list(without_stale_statistics(loaded, wanted)) == list(other)


def test_mismatches_are_keys_and_shapes():
    def tensors(**sizes: int) -> dict[str, torch.Tensor]:
        return {key: torch.zeros(size) for key, size in sizes.items()}

    wanted = tensors(a=1, b=2)
    assert mismatches(tensors(b=2, a=1), wanted) == []
    assert mismatches(tensors(a=1, c=2), wanted) == ["b", "c"]
    assert mismatches(tensors(a=1, b=3), wanted) == ["b"]


def test_a_network_is_found_below_its_prefix_in_a_larger_model(state):
    larger = {f"generator.{k}": v for k, v in state.items()} | {"discriminator.w": torch.zeros(1)}
    found = part_that_fits(larger, state)
    assert list(found) == list(state) and found["0.weight"] is state["0.weight"]
    twice = larger | {f"other.{k}": v for k, v in state.items()}
    assert part_that_fits(twice, state) is twice  # which of the two?
    assert part_that_fits(state | {"more": torch.zeros(1)}, state).keys() > state.keys()


def test_a_damaged_list_of_an_archives_files_is_refused_on_one_line(tmp_path):
    path = tmp_path / "latest_net_G.pth"
    torch.save({"w": torch.zeros(2)}, path)
    content = path.read_bytes()
    at = content.rindex(b"PK\x01\x02") + 46  # the last name in the central directory
    path.write_bytes(content[:at] + b"\xa4\n" + content[at + 2 :])
    assert "not a checkpoint" in refusal(path)
