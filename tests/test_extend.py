"""docs/extend.md is true: its dataset and its model, dropped in, train and test."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import TINY, draw

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "extend.md").read_text("utf-8")


def block(name: str) -> str:
    (code,) = re.findall(rf"<!-- extend: {name} -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    return code


def table(root: Path) -> None:
    root.mkdir(parents=True)
    for phase in ("train", "test"):
        names = [f"{phase}_{side}.png" for side in "AB"]
        for seed, name in enumerate(names):
            draw((80, 72), seed=seed).save(root / name)
        (root / f"{phase}.csv").write_text(f"{','.join(names)}\n")


def test_the_examples_have_at_most_forty_lines() -> None:
    assert all(0 < len(block(name).splitlines()) <= 40 for name in ("dataset", "model"))


def test_the_examples_train_and_test(
    command: Callable[..., SimpleNamespace], drop: Callable[[str, str], None]
) -> None:
    drop("data/table_dataset.py", block("dataset"))
    drop("models/sharp_model.py", block("model"))
    table(Path("datasets/table"))
    train, test = (line for line in PAGE.splitlines() if line.startswith("python "))
    result = command("train", *shlex.split(train)[2:], *TINY, "--print_freq", "1")
    assert result.status == 0, result.err
    line = Path("checkpoints/sharp/loss_log.txt").read_text().splitlines()[1]
    assert re.search(r"\) G_edges: \S+ G_GAN: \S+ G_L1: \S+ D_real: \S+ D_fake: \S+$", line)
    result = command("test", *shlex.split(test)[2:], "--gpu_ids", "-1", "--num_threads", "0")
    assert result.status == 0, result.err
    names = {path.name for path in Path("results/sharp/test_latest/images").iterdir()}
    assert names == {f"test_A_{label}.png" for label in ("real_A", "fake_B", "real_B")}


@pytest.mark.parametrize(
    ("flags", "needle"), [("--table_skip x", "--table_skip"), ("--phase val", "val.csv")]
)
def test_a_mistake_with_them_is_one_line(
    command: Callable[..., SimpleNamespace],
    drop: Callable[[str, str], None],
    flags: str,
    needle: str,
) -> None:
    drop("data/table_dataset.py", block("dataset"))
    table(Path("datasets/table"))
    where = ["--dataroot", "datasets/table", "--dataset_mode", "table"]
    result = command("train", *where, *TINY, *flags.split())
    assert result.status == 2 and needle in result.err and result.err.count("\n") == 1
