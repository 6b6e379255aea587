"""The Chinese pages say what the English ones say; that of the flags, what the parsers say."""

import io
import re
import shlex
import tokenize
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from support.documents import PAGES, README, blocks

from models.networks import DISCRIMINATORS, GENERATORS
from options.base_options import COMMANDS
from options.config_files import BUILTIN_PRESET, PRESETS
from options.other_flag_names import RENAMED
from options.parser import FlagParser
from options.shared_flags import add_shared_flags
from util.registry import find_class, known

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
        flags = " ".join(
            f"--{name}" if value is True else f"--{name} {value}" for name, value in values.items()
        )
        assert line == flags, model
    old = page.partition("## 旧参数名")[2]
    assert {flag: new.strip("`") for flag, new in rows_of(old)} == RENAMED
