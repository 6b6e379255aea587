"""What docs/ points to is there, and its commands run."""

import io
import re
import runpy
import shlex
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import draw, draw_pairs, small
from PIL import Image

from models.networks import DISCRIMINATORS, GENERATORS
from options.base_options import COMMANDS
from options.config_files import BUILTIN_PRESET, PRESETS
from options.parser import RENAMED, FlagParser
from options.shared_flags import add_shared_flags
from scripts.evaluation.network_metrics import INCEPTION
from util.registry import find_class, known

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PAGES = {path.name: path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}
FOLDERS = "models|data|options|util|scripts|tests|datasets|docs"


def anchors(page: str) -> set[str]:
    """What links can name of a page: its headings as GitHub spells them in addresses."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", page, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, "../README.md"])
def test_links_between_documents_lead_somewhere(page: str) -> None:
    file = (ROOT / "docs" / page).resolve()
    text = file.read_text("utf-8")
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", text):
        to = (file.parent / target).resolve() if target else file
        assert to.exists(), target
        assert not anchor or anchor in anchors(to.read_text("utf-8")), (target, anchor)


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page: str) -> None:
    for path in re.findall(rf"`((?:{FOLDERS})/[\w/.]*)[:`]", PAGES[page]):
        made_up = any(word in path for word in ("foo_", "edge_", "table_", "sharp_", "NAME_"))
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


def blocks(page: str, language: str = "bash") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def lines(page: str) -> list[str]:
    """The commands of a page, without comments."""
    found = "".join(blocks(page)).splitlines()
    return [line for line in found if line.strip() and not line.startswith("#")]


def run_lines(command: Callable[..., SimpleNamespace], page: list[str]) -> None:
    for line in page:
        name, flags = small(line)
        result = command(name, *flags)
        assert result.status == 0, f"{line}\n{result.err}"


@pytest.fixture
def facades(command: Callable[..., SimpleNamespace]) -> None:
    """The data that the pages speak of, in the current folder."""
    draw_pairs(Path("datasets/facades"), count=1, size=(280, 270))
    for folder in ("sketches", "photos/train", "photos/test"):
        Path("datasets", folder).mkdir(parents=True)
        draw((70, 50)).save(f"datasets/{folder}/a.png")
    Path("options").symlink_to(ROOT / "options")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "count"),
    [("paper.md", 2), ("tips.md", 8), ("reliability.md", 1), ("training.md", 28)],
)
def test_the_commands_of_a_page_run(command, facades, page: str, count: int) -> None:
    assert len(lines(PAGES[page])) == count
    run_lines(command, lines(PAGES[page]))


def test_the_commands_of_the_page_of_the_data_run(command: Callable[..., SimpleNamespace]) -> None:
    Path("images").mkdir()
    for i in range(4):
        draw((80, 72), seed=i).save(f"images/{i}.png")
    for side in ("trainA", "trainB", "testA", "testB"):
        Path(f"datasets/scans/{side}").mkdir(parents=True)
        np.save(f"datasets/scans/{side}/0.npy", np.arange(72 * 80.0).reshape(72, 80))
    assert len(lines(PAGES["datasets.md"])) == 8
    run_lines(command, lines(PAGES["datasets.md"]))


@pytest.mark.slow
def test_the_answers_run(command: Callable[..., SimpleNamespace], facades) -> None:
    page = PAGES["qa.md"]
    assert [int(n) for n in re.findall(r"^## (\d+)\. ", page, re.MULTILINE)] == [*range(1, 36)]
    trained = "python train.py --dataroot ./datasets/facades --name facades"
    run_lines(command, [f"{trained} --direction BtoA", f"{trained}_cyclegan --model cycle_gan"])
    translating, one_hot, *cells = blocks(page, "python")
    for phase in ("train", "test"):
        Path("labels", phase).mkdir(parents=True)
        Path("datasets/onehot", f"{phase}B").mkdir(parents=True)
        numbers = np.arange(70 * 80, dtype=np.uint8).reshape(70, 80) % 12
        Image.fromarray(numbers).save(f"labels/{phase}/1.png")
        draw((80, 70)).save(f"datasets/onehot/{phase}B/1.jpg")
    exec(one_hot, {})
    assert np.load("datasets/onehot/trainA/1.npy").sum(axis=2).tolist() == [[1] * 80] * 70
    run_lines(command, lines(page))
    draw((70, 50)).save("sketch.png")
    exec(translating, {})
    assert Image.open("photo.png").size == (64, 64)
    run_cells(command, page, cells)


def run_cells(command: Callable[..., SimpleNamespace], page: str, cells: list[str]) -> None:
    """Run the cells of a notebook: the commands behind `!python`, then the code."""
    found = re.findall(r"^!(python .+)$", page, re.MULTILINE)
    here = [line.replace("/content/drive/MyDrive", "drive") for line in found]
    assert len(here) == 5 and len(cells) == 2
    run_lines(command, here)
    assert Path("drive/checkpoints/facades/latest_net_G.pth").exists()
    for cell in cells:
        exec(cell.replace("/1_", "/0_"), {})


@pytest.mark.slow
def test_the_commands_of_the_page_of_the_metrics_run(command, facades, in_this_process) -> None:
    for name in ("facades", "facades_bf16"):
        line = f"python train.py --dataroot ./datasets/facades --direction BtoA --name {name}"
        run_lines(command, [line, f"python test.py --name {name}"])
    for folder, kind in (("outputs", "fake_B"), ("targets", "real_B")):
        Path(folder).mkdir()
        Path(folder, "0.png").symlink_to(
            Path(f"results/facades/test_latest/images/0_{kind}.png").resolve()
        )
    *simple, fcn, sweep = lines(PAGES["metrics.md"])
    assert len(simple) == 4
    run_lines(command, simple)
    ((file, plan),) = re.findall(
        r"<!-- file: (\S+) -->\n```yaml\n(.*?)```", PAGES["metrics.md"], re.S
    )
    Path(file).write_text(plan)
    run_lines(command, [sweep])
    assert len(list(Path("checkpoints/lambda").glob("*/latest_net_G.pth"))) == 4
    assert Path("results/lambda/index.html").exists()
    name, flags = small(fcn)
    result = command(name, *flags)  # these images are painted with more than a few colours
    assert result.status == 2 and "--metrics FCN: needs label maps" in result.err


def test_the_page_on_using_a_model_runs(command, facades, served) -> None:
    page = PAGES["using.md"]
    trained = "python train.py --dataroot ./datasets/facades --name facades --direction BtoA"
    draw((70, 50)).save("sketch.png")
    run_lines(command, [trained, *lines(page)])
    assert len(lines(page)) == 4 and len(served) == 1
    assert page.count("http://127.0.0.1:8000/") == 4  # test_draw_server asks the same
    assert Image.open("photo.png").size == (70, 50) and any(Path("photos").iterdir())
    for code in blocks(page, "python"):
        exec(code, {})
    assert Image.open("photo.png").size == (64, 64)


@pytest.mark.slow
def test_the_first_hour_goes_by_as_it_is_written(
    command: Callable[..., SimpleNamespace], few_builtin: None, capfd, monkeypatch
) -> None:
    page = PAGES["first_hour.md"]
    for name, code in re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", page, re.DOTALL):
        Path(name).write_text(code)
    todo = [line.removeprefix("uv run ") for line in lines(page) if line.startswith("uv run ")]
    assert [line.split()[0] for line in todo] == [
        *("train.py", "test.py", "train.py", "train.py", "test.py", "test.py"),
        *("compare.py", "step.py"),
    ]
    for line in todo:
        name, *flags = shlex.split(line)
        if Path(name).exists():
            monkeypatch.setattr("sys.argv", [name, *flags])
            runpy.run_path(name)
        else:
            result = command(name.removesuffix(".py"), *flags)
            assert result.status == 0, f"{line}\n{result.err}"
    by_hand = re.findall(r"by hand (\S+), by the model (\S+)", capfd.readouterr().out)
    assert len(by_hand) == 2 and all(ours == theirs for ours, theirs in by_hand)
    (more,) = re.findall(r"<!-- more -->\n```python\n(.*?)```", page, re.DOTALL)
    Path("step.py").write_text(Path("step.py").read_text() + more)
    for flags in (["--seed", "5"], ["--name", "cGAN", "--pixel_loss", "none"]):
        capfd.readouterr()
        monkeypatch.setattr("sys.argv", ["step.py", *flags])
        runpy.run_path("step.py")
    assert Image.open("compare.png").size == (5 * 128, 2 * 128)
    assert Image.open("patches.png").size == (9 * 64, 6 * 64)


def test_the_first_hour_shows_the_method_that_is_there() -> None:
    shown = re.search(r"<!-- method -->\n```python\n(.*?)```", PAGES["first_hour.md"], re.DOTALL)
    source = (ROOT / "models" / "pix2pix_model.py").read_text("utf-8")
    for line in shown[1].splitlines():
        assert line.partition("  #")[0].strip() in source, line


TWINS = sorted(name.removesuffix(".zh-CN.md") for name in PAGES if name.endswith(".zh-CN.md"))
TWINS.remove("flags")  # in Chinese only
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def without_comments(language: str, code: str) -> Any:
    """What a block of code does; comments may be in another language."""
    if language == "python":
        tokens = tokenize.generate_tokens(io.StringIO(code).readline)
        return [(t.type, t.string) for t in tokens if t.type not in (tokenize.COMMENT, tokenize.NL)]
    if language == "bash":
        commands = [shlex.split(line, comments=True) for line in code.splitlines()]
        return [words for words in commands if words]
    return code


def prose(page: str) -> list[str]:
    """The lines of a page outside of its blocks of code."""
    return FENCED.sub("", page).splitlines()


def english_and_chinese(page: str) -> tuple[str, str]:
    return README if page == "README" else PAGES[f"{page}.md"], PAGES[f"{page}.zh-CN.md"]


def test_comments_may_differ_and_nothing_else() -> None:
    code = "a = '#1'  # one\n# two\nif a:\n    b(a)\n"
    same = "a = '#1'\n\nif a:\n    # 三\n    b(a)  # 四\n"
    assert without_comments("python", code) == without_comments("python", same)
    for other in (code.replace("#1", "#2"), code.replace("    b", "    c"), code + "b(a)\n"):
        assert without_comments("python", code) != without_comments("python", other)
    code = "# one\npython train.py --name '#1'  # two\n"
    assert without_comments("bash", code) == [["python", "train.py", "--name", "#1"]]


@pytest.mark.parametrize("page", TWINS)
def test_chinese_pages_have_the_same_commands_and_code(page: str) -> None:
    english, chinese = (
        [(kind, without_comments(kind, code)) for kind, code in FENCED.findall(text)]
        for text in english_and_chinese(page)
    )
    assert chinese == english != []


@pytest.mark.parametrize("page", TWINS)
def test_chinese_pages_have_the_same_headings_and_tables(page: str) -> None:
    english, chinese = map(prose, english_and_chinese(page))
    for kind in (r"(#+) (\d+\. )?", r"(\|)"):  # numbers of headings; rows
        there, here = ([re.match(kind, line) for line in lines] for lines in (english, chinese))
        assert [found.groups() for found in here if found] == [
            found.groups() for found in there if found
        ]


@pytest.mark.parametrize("page", TWINS)
def test_both_languages_link_to_each_other(page: str) -> None:
    english, chinese = english_and_chinese(page)
    name = f"{page}.zh-CN.md"
    there, back = ("docs/" + name, "../README.md") if page == "README" else (name, f"{page}.md")
    assert f"[中文]({there})" in english and f"[English]({back})" in chinese


@pytest.mark.parametrize("page", TWINS + ["flags"])
def test_no_chinese_line_breaks_within_a_clause(page: str) -> None:
    """Browsers show the end of a line as a space, which Chinese has only beside Latin words."""
    lines = prose(PAGES[f"{page}.zh-CN.md"])
    broken = [
        f"{line}\n{after}"
        for line, after in zip(lines, lines[1:], strict=False)
        if re.search(r"[\u4e00-\u9fff]$", line) and re.match(r" *[\u4e00-\u9fff]", after)
        if not line.startswith("#")
    ]
    assert not broken, broken[0]


def parser_of(command: str, model: str, dataset: str = "") -> FlagParser:
    """The parser of a command with the flags of a model and of a dataset, by default its own."""
    parser = FlagParser()
    add_shared_flags(parser)
    COMMANDS[command](parser)
    for package, title, name in (("models", "model", model), ("data", "dataset", dataset)):
        name = name or parser.get_default("dataset_mode")
        with parser.section(f"{title} {name}"):
            find_class(package, name, "").modify_commandline_options(parser, command == "train")
    return parser


def rows_of(text: str) -> Iterator[list[str]]:
    """The cells of the rows of tables that begin with a flag."""
    for line in text.splitlines():
        if line.startswith("| `--"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            yield [cells[0].removesuffix("†").strip("` "), *cells[1:]]


def documented_flags() -> dict[str, dict[str, list[str]]]:
    """The page of the flags: {section of --help: {flag: [default, meaning, when to change]}}."""
    parts = re.split(r"^#+ .*?(?:（([^）]+)）)?$\n", PAGES["flags.zh-CN.md"], flags=re.MULTILINE)
    return {
        title: {flag: cells for flag, *cells in rows_of(text)}
        for titles, text in zip(parts[1::2], parts[2::2], strict=True)
        for title in (titles or "").split("、")
        if title
    }


def documented_default(cell: str, context: set[str]) -> Any:
    """What a cell says is the default of a flag for a command or a model.

    The first part holds for all; "cycle_gan、test：`x`" after a ；only for those that it names.
    """
    first, *others = cell.split("；")
    for part in others:
        names, _, value = part.partition("：")
        first = value if context & set(names.split("、")) else first
    code = re.fullmatch(r"`(.*)`", first)
    return code[1] if code else {"关": False, "开": True}.get(first)


def as_text(default: Any) -> Any:
    if isinstance(default, bool):
        return default
    if isinstance(default, float):
        return f"{default:g}"
    return None if default in (None, "") else str(default)


def test_the_page_of_the_flags_has_all_flags_with_their_defaults() -> None:
    documented, sections, carried = documented_flags(), {}, set()
    cases = [(command, model, "") for command in COMMANDS for model in known("models")]
    cases.remove(("train", "test", ""))
    cases += [(command, "pix2pix", dataset) for command in COMMANDS for dataset in known("data")]
    for command, model, dataset in cases:
        parser = parser_of(command, model, dataset)
        carried |= parser.carried | parser.carried_with_model
        for group in parser._action_groups:
            flags = [action.option_strings[0] for action in group._group_actions]
            if flags:
                assert list(documented[group.title]) == flags, group.title
                sections[group.title] = flags
            for action in group._group_actions if not dataset else ():
                cell, meaning, _ = documented[group.title][action.option_strings[0]]
                context = {model, f"{command}.py"}
                shown = documented_default(cell, context)
                assert shown == as_text(action.default), (action.dest, context, cell)
                for choice in action.choices or ():
                    assert f"`{choice}`" in meaning, (action.dest, choice)
    assert sections.keys() == documented.keys()
    marked = re.findall(r"^\| `--(\w+)` † \|", PAGES["flags.zh-CN.md"], re.MULTILINE)
    assert set(marked) == carried and len(marked) == len(carried)


def test_the_page_of_the_flags_names_models_networks_and_datasets() -> None:
    rows = {
        flag: cells for section in documented_flags().values() for flag, cells in section.items()
    }
    for flag, names in {
        "--model": known("models"),
        "--dataset_mode": known("data"),
        "--netG": GENERATORS,
        "--netD": DISCRIMINATORS,
    }.items():
        assert all(f"`{name}`" in rows[flag][1] for name in names), flag


def test_the_page_of_the_flags_has_the_built_in_settings_and_the_old_names() -> None:
    page = PAGES["flags.zh-CN.md"]
    (shown,) = blocks(page, "yaml")
    assert yaml.safe_load(shown) == yaml.safe_load(BUILTIN_PRESET.read_text("utf-8"))
    for preset in PRESETS.glob("builtin_*.yaml"):
        model, values = preset.stem.removeprefix("builtin_"), yaml.safe_load(preset.read_text())
        (line,) = re.findall(rf"`--model {model}` 用[^`]*`([^`]*)`", page)
        assert list(values.values()) == [line], model
    old = page.partition("## 旧参数名")[2]
    assert {flag: new.strip("`") for flag, new in rows_of(old)} == RENAMED


def test_the_weights_that_are_brought_by_hand_have_the_names_that_are_looked_for() -> None:
    from torchvision.models import AlexNet_Weights, VGG19_Weights

    urls = (INCEPTION, AlexNet_Weights.DEFAULT.url, VGG19_Weights.IMAGENET1K_V1.url)
    assert all(f"`{url.rpartition('/')[2]}`" in PAGES["install.md"] for url in urls)


@pytest.mark.parametrize("page", PAGES)
def test_images_are_there(page: str) -> None:
    for target in re.findall(r"!\[[^]]*\]\(([^)]+)\)", PAGES[page]):
        assert Image.open(ROOT / "docs" / target).size[0] > 100, target
