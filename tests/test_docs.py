"""What docs/ points to is there, and its commands run."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import TINY, draw, draw_pairs

from options.sources import PRESETS

ROOT = Path(__file__).resolve().parent.parent
PAGES = {path.name: path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
FOLDERS = "models|data|options|util|scripts|tests|datasets|docs"


@pytest.mark.parametrize("page", PAGES)
def test_links_between_documents_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+\.md)\)", PAGES[page]):
        assert (ROOT / "docs" / target).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page: str) -> None:
    for path in re.findall(rf"`((?:{FOLDERS})/[\w/.]*)[:`]", PAGES[page]):
        made_up = any(word in path for word in ("foo_", "edge_", "table_", "sharp_"))
        assert made_up or (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES)
def test_names_in_files_exist(page: str) -> None:
    for path, name in re.findall(r"`([\w/]+\.py): (\w+)`", PAGES[page]):
        source = (ROOT / path).read_text("utf-8")
        assert re.search(rf"^ *(def|class) {name}\b|^{name}\b.* = ", source, re.MULTILINE), name


def test_every_preset_of_the_tables_is_on_the_page_of_the_paper() -> None:
    rows = {p.name for p in PRESETS.glob("*.yaml") if not p.name.startswith("builtin")}
    assert (
        set(re.findall(r"presets/(\w+\.yaml)` \|", PAGES["paper.md"])) == rows and len(rows) == 13
    )


def test_the_commands_of_the_page_of_the_paper_run(
    command: Callable[..., SimpleNamespace],
) -> None:
    draw_pairs(Path("datasets/facades"), count=1)
    lines = [line for line in PAGES["paper.md"].splitlines() if line.startswith("python ")]
    assert len(lines) == 2
    for line in lines:
        _, script, *flags = shlex.split(line)
        flags = [str(ROOT / f) if f.startswith("options/") else f for f in flags]
        extra = TINY if script == "train.py" else ["--gpu_ids", "-1", "--num_threads", "0"]
        result = command(script.removesuffix(".py"), *flags, *extra)
        assert result.status == 0, f"{line}\n{result.err}"


def test_the_commands_of_the_page_of_the_data_run(command: Callable[..., SimpleNamespace]) -> None:
    Path("pictures").mkdir()
    for i in range(4):
        draw((80, 72), seed=i).save(f"pictures/{i}.png")
    blocks = re.findall(r"```bash\n(.*?)```", PAGES["datasets.md"], re.DOTALL)
    lines = "".join(blocks).splitlines()
    assert len(lines) == 6
    for line in lines:
        _, script, *flags = shlex.split(line)
        if script == "-m":
            script, *flags = flags
            extra = ["--num_threads", "1"]
        else:
            extra = TINY if script == "train.py" else ["--gpu_ids", "-1", "--num_threads", "0"]
        result = command(script.removesuffix(".py"), *flags, *extra)
        assert result.status == 0, f"{line}\n{result.err}"
