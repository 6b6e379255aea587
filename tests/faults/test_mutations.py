"""Whatever stands in a file, reading it ends in success or in one clear line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.checks.image_check import inspect
from data.files.image_files import load_image, load_image_or_array
from options.config_files import read_run, read_yaml
from options.train_options import TrainOptions
from scripts.dev.mutations import image_originals, mutated
from training.state import read_state
from util.checkpoint import load

pytestmark = pytest.mark.filterwarnings("ignore")  # PIL's, of damaged files
MANY = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)
randoms = st.randoms(use_true_random=False)


def ends_well(read: Callable[[], object], path: Path) -> None:
    """Expect success, or an error of one line that names the file."""
    try:
        read()
    except ValueError as error:
        assert "\n" not in str(error) and path.name in str(error)


@pytest.mark.parametrize("kind", ["8-bit images", "16-bit PNG", "TIFF", ".npy"])
@MANY
@given(rng=randoms)
def test_damaged_images(tmp_path: Path, kind: str, rng) -> None:
    original = rng.choice(image_originals(tmp_path)[kind])
    path = tmp_path / f"damaged{original.suffix}"
    path.write_bytes(mutated(original.read_bytes(), rng))
    ends_well(lambda: load_image_or_array(path), path)
    ends_well(lambda: load_image(path), path)
    assert all("\n" not in str(finding) for finding in inspect(str(path)))


@MANY
@given(rng=randoms)
def test_damaged_checkpoints(tmp_path: Path, rng) -> None:
    path = tmp_path / "latest_net_G.pth"
    torch.save({"w": torch.arange(6.0), "b": [1, "x", None]}, path)
    path.write_bytes(mutated(path.read_bytes(), rng))
    ends_well(lambda: load(path), path)


@MANY
@given(content=st.binary(max_size=300))
def test_bytes_that_are_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "latest_net_G.pth"
    path.write_bytes(content)
    ends_well(lambda: load(path), path)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
PARTS = ["networks", "optimizers", "schedulers", "pools", "random", "progress", "options"]


@MANY
@given(state=plain | st.fixed_dictionaries({part: plain for part in [*PARTS, "version"]}))
def test_states_that_are_something_else(tmp_path: Path, state: object) -> None:
    (tmp_path / "r").mkdir(exist_ok=True)
    path = tmp_path / "r/latest_state.pth"
    torch.save(state, path)
    flags = ["--continue_train", "--checkpoints_dir", str(tmp_path), "--name", "r"]
    opt = TrainOptions().read(flags)
    ends_well(lambda: read_state(opt), path)


@MANY
@given(rng=randoms)
def test_damaged_options(tmp_path: Path, rng) -> None:
    path = tmp_path / "train_opt.json"
    path.write_bytes(mutated(json.dumps({"ngf": 64, "netG": "unet_256"}).encode(), rng))
    ends_well(lambda: read_run(tmp_path), path)


@MANY
@given(text=st.text(max_size=80) | st.just("a: b\n").map(lambda line: line * 3))
def test_any_text_as_yaml(tmp_path: Path, text: str) -> None:
    path = tmp_path / "flags.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    ends_well(lambda: read_yaml(path), path)


@MANY
@given(name=st.text(min_size=1, max_size=30))
def test_no_name_leaves_the_folder_of_the_runs(tmp_path: Path, name: str) -> None:
    try:
        opt = TrainOptions().read(["--checkpoints_dir", str(tmp_path), f"--name={name}"])
    except ValueError as error:
        assert "\n" not in str(error) and "--name" in str(error)
        return
    folder = (tmp_path / opt.name).resolve()
    assert folder != tmp_path.resolve() and folder.is_relative_to(tmp_path.resolve())
