"""The download commands: their table, their flags, what they fetch and what they leave."""

import hashlib
import io
import pickle
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from support.archives import content_of, noise, tar_of, zip_of
from support.download_site import Asked, Site, left, said

from scripts import download

pytest_plugins = ["support.downloading"]
ROOT = Path(__file__).resolve().parents[2]
WRAPPERS = sorted(ROOT.glob("*/download_*.sh"))
HOST = "http://efrosgans.eecs.berkeley.edu"
# As published: where from, where to, and the names.
PUBLISHED = {
    "pix2pix_dataset": (
        f"{HOST}/pix2pix/datasets/NAME.tar.gz",
        "datasets/NAME",
        "facades maps edges2shoes edges2handbags night2day",
    ),
    "cyclegan_dataset": (
        f"{HOST}/cyclegan/datasets/NAME.zip",
        "datasets/NAME",
        "apple2orange summer2winter_yosemite horse2zebra monet2photo cezanne2photo ukiyoe2photo "
        "vangogh2photo maps facades iphone2dslr_flower ae_photos mini mini_pix2pix "
        "mini_colorization",
    ),
    "pix2pix_model": (
        f"{HOST}/pix2pix/models-pytorch/NAME.pth",
        "checkpoints/NAME_pretrained/latest_net_G.pth",
        "edges2shoes sat2map map2sat facades_label2photo day2night",
    ),
    "cyclegan_model": (
        f"{HOST}/cyclegan/pretrained_models/NAME.pth",
        "checkpoints/NAME_pretrained/latest_net_G.pth",
        "apple2orange orange2apple summer2winter_yosemite winter2summer_yosemite horse2zebra "
        "zebra2horse monet2photo style_monet style_cezanne style_ukiyoe style_vangogh sat2map "
        "map2sat cityscapes_photo2label cityscapes_label2photo facades_photo2label "
        "facades_label2photo iphone2dslr_flower",
    ),
}
FILES = {"train/1.jpg": noise(1000), "test/1.jpg": noise(1000, seed=1)}
ARCHIVE = tar_of({f"facades/{name}": content for name, content in FILES.items()})
DIGEST = hashlib.sha256(ARCHIVE).hexdigest()
UNPACKED = {**FILES, "train": None, "test": None}
HTML = b"<!DOCTYPE html>\n<html><p>Sign in to this network</p></html>\n"
FACADES = ("pix2pix_dataset", "facades")
MODEL = ("pix2pix_model", "sat2map")
pytestmark = pytest.mark.timeout(60)


def weights() -> bytes:
    """Return a tiny published model."""
    memory = io.BytesIO()
    torch.save({"model.0.weight": torch.arange(6.0).reshape(2, 3)}, memory)
    return memory.getvalue()


# The table.


@pytest.mark.parametrize("kind", PUBLISHED)
def test_the_table_holds_what_was_published(kind: str) -> None:
    table = yaml.safe_load(download.TABLE.read_text(encoding="utf-8"))
    address, target, names = PUBLISHED[kind]
    assert set(table) == set(PUBLISHED) and set(table[kind]["names"]) == set(names.split())
    for name in names.split():
        source = download.find(table, kind, name)
        assert source.urls[-1] == address.replace("NAME", name)
        assert source.target == Path(target.replace("NAME", name))
        assert set(table[kind]["names"][name]) <= {"size", "sha256", "use", "licence"}
        assert source.size is None or source.size > 0
        assert source.sha256 is None or len(bytes.fromhex(source.sha256)) == 32


@pytest.mark.parametrize("kind", PUBLISHED)
def test_every_entry_has_a_licence_or_an_origin(kind: str) -> None:
    table = yaml.safe_load(download.TABLE.read_text(encoding="utf-8"))
    for name, known in table[kind]["names"].items():
        first, _, origin = known["licence"].partition("; ")
        assert "\n" not in known["licence"], name
        assert origin if first == "none stated" else "use" in first or "research" in first, name


@pytest.mark.parametrize("kind", PUBLISHED)
@pytest.mark.parametrize("flags", [[], ["--list"]])
def test_the_names_are_listed_without_asking_anybody(
    fetch: Callable, site: Site, kind: str, flags: list[str]
) -> None:
    done = fetch(kind, *flags)
    names = PUBLISHED[kind][2].split()
    table = yaml.safe_load(download.TABLE.read_text(encoding="utf-8"))
    licences = [known["licence"] for known in table[kind]["names"].values()]
    columns = [line.split(maxsplit=2) for line in done.out.splitlines()]
    assert done.status == 0 and columns[0] == ["name", "hash", "licence"]
    assert sorted(row[0] for row in columns[1:]) == sorted(names)
    assert [row[1:] for row in columns[1:]] == [["unverified", text] for text in licences]
    assert site.asked == [] and left() == {}


@pytest.mark.parametrize("kind", PUBLISHED)
def test_what_is_said_to_run_next_is_a_command_that_parses(kind: str, tmp_path: Path) -> None:
    from options.test_options import TestOptions
    from options.train_options import TrainOptions

    table = yaml.safe_load(download.TABLE.read_text(encoding="utf-8"))
    suffix = {"pix2pix_dataset": "", "cyclegan_dataset": "_cyclegan"}.get(kind, "_pretrained")
    for name in PUBLISHED[kind][2].split():
        python, script, *flags = download.find(table, kind, name).use.split()
        flags += ["--checkpoints_dir", str(tmp_path)]
        opt = {"train.py": TrainOptions, "test.py": TestOptions}[script]().read(flags)
        own = "" if name in ("mini_pix2pix", "mini_colorization") else suffix
        assert python == "python" and opt.name == name + own


@pytest.mark.parametrize(
    ("kind", "target", "flag", "given"),
    [
        ("pix2pix_dataset", "{name}", "--dataroot", "my files/{name}"),
        (
            *("pix2pix_model", "{name}_pretrained/latest_net_G.pth"),
            *("--checkpoints_dir", "my files"),
        ),
    ],
)
def test_a_folder_of_ones_own_is_in_the_command_that_is_said_too(kind, target, flag, given) -> None:
    table = yaml.safe_load(download.TABLE.read_text(encoding="utf-8"))
    name = PUBLISHED[kind][2].split()[0]
    source = download.find(table, kind, name, to="my files")
    words = shlex.split(source.use)
    assert source.target == Path("my files", target.format(name=name))
    assert words[words.index(flag) + 1] == given.format(name=name)


def test_the_published_facades_go_from_labels_to_photos() -> None:
    table = yaml.safe_load(download.TABLE.read_text(encoding="utf-8"))
    for kind, name in (("pix2pix_dataset", "facades"), ("pix2pix_model", "facades_label2photo")):
        assert "--direction BtoA" in download.find(table, kind, name).use


@pytest.mark.parametrize(
    "kind, name, words",
    [
        ("pix2pix_dataset", "facade", ["facade: no such", "did you mean facades", "night2day"]),
        ("cyclegan_dataset", "zzz", ["zzz: no such", "known names:", "horse2zebra"]),
        ("pix2pix_dataset", "../../x", ["../../x: no such", "facades"]),
        ("pix2pix_dataset", "cityscapes", ["licence", "www.cityscapes-dataset.com", "prepare"]),
    ],
)
def test_a_name_that_is_not_offered_is_refused_with_those_that_are(
    fetch: Callable, site: Site, kind: str, name: str, words: list[str]
) -> None:
    done = fetch(kind, name)
    assert done.status == 2 and len(done.err.splitlines()) == 1
    assert [word for word in words if word not in done.err] == []
    assert site.asked == [] and left() == {}


@pytest.mark.parametrize("script", WRAPPERS, ids=lambda p: p.name)
def test_scripts_pass_their_arguments_on(script: Path, run_script: Callable) -> None:
    args = ["--mirror", "two  words*", "$HOME"]
    kind = script.stem.removeprefix("download_")
    assert run_script(script, *args, status=7) == (7, ["-m", "scripts.download", kind, *args])


def test_there_is_a_script_for_each_kind_where_people_know_it() -> None:
    folder = {"dataset": "datasets", "model": "scripts"}
    names = {f"{folder[kind.split('_')[1]]}/download_{kind}.sh" for kind in PUBLISHED}
    assert {str(p.relative_to(ROOT)) for p in WRAPPERS} == names


# What a run fetches and leaves.


def test_a_data_set_is_downloaded_and_unpacked(
    fetch: Callable, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.put("/one/facades.tar.gz", ARCHIVE)
    assert fetch(*FACADES).status == 0
    assert content_of(Path("datasets")) == {
        "facades": None,
        **{f"facades/{name}": content for name, content in UNPACKED.items()},
    }
    assert site.asked == [Asked("/one/facades.tar.gz")]
    text = caplog.text
    assert f"SHA-256 {DIGEST} (unverified" in text and "--dataroot ./datasets/facades" in text


def test_a_zip_is_downloaded_and_unpacked(fetch: Callable, site: Site) -> None:
    site.put("/one/mini.zip", zip_of({f"mini/{k}": v for k, v in FILES.items()}))
    assert fetch("cyclegan_dataset", "mini").status == 0
    assert left("datasets/mini") == FILES


@pytest.mark.parametrize("kind", ["pix2pix_model", "cyclegan_model"])
def test_a_model_lands_where_test_py_looks_for_it(
    fetch: Callable, site: Site, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    site.put("/one/sat2map.pth", weights())
    assert fetch(kind, "sat2map").status == 0
    assert left() == {"checkpoints/sat2map_pretrained/latest_net_G.pth": weights()}
    assert f"python {ROOT / 'test.py'} --name sat2map_pretrained" in caplog.text


class Code:
    """Would make a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, ("ran", "w"))


def unsafe() -> bytes:
    """Return a model file that runs code when it is loaded carelessly."""
    memory = io.BytesIO()
    torch.save({"w": Code()}, memory)
    return memory.getvalue()


WRONG = {
    "HTML": (HTML, "not a checkpoint"),
    "code": (unsafe(), "could run code"),
    "plain pickle with code": (pickle.dumps(Code(), protocol=2), ""),
    "truncated": (weights()[:-200], "not a checkpoint"),
    "empty": (b"", "not a checkpoint"),
}


@pytest.mark.parametrize("content, word", WRONG.values(), ids=WRONG)
def test_a_model_file_that_is_none_is_refused_and_the_next_mirror_tried(
    fetch: Callable, site: Site, content: bytes, word: str
) -> None:
    urls = [site.put(f"/{mirror}/sat2map.pth", content) for mirror in ("one", "two")]
    said(fetch(*MODEL), *urls, word)
    assert left() == {}
    site.put("/two/sat2map.pth", weights())
    assert fetch(*MODEL).status == 0
    assert left() == {"checkpoints/sat2map_pretrained/latest_net_G.pth": weights()}


@pytest.mark.parametrize("args", [FACADES, MODEL])
def test_what_is_there_already_is_not_touched(
    fetch: Callable, site: Site, args: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    target = Path(PUBLISHED[args[0]][1].replace("NAME", args[1]))
    target.parent.mkdir(parents=True)
    target.write_text("mine")
    assert fetch(*args).status == 0
    assert site.asked == [] and left() == {str(target): b"mine"}
    assert f"{target} already exists; delete it" in caplog.text
    twin = {"pix2pix_dataset": "a cyclegan_dataset", "pix2pix_model": "a cyclegan_model"}[args[0]]
    assert f"it may be {twin}" in caplog.text


def test_what_only_one_kind_has_is_not_said_to_be_another(
    fetch: Callable, caplog: pytest.LogCaptureFixture
) -> None:
    Path("datasets/horse2zebra").mkdir(parents=True)
    assert fetch("cyclegan_dataset", "horse2zebra").status == 0
    assert "already exists" in caplog.text and "it may be" not in caplog.text


def test_a_name_with_a_known_hash_is_marked_as_known(fetch: Callable) -> None:
    lines = fetch("pix2pix_dataset", "maps", "--list", sha256="00" * 32).out.splitlines()[1:]
    states = {name: state for name, state, _ in (line.split(maxsplit=2) for line in lines)}
    assert states.pop("maps") == "known" and set(states.values()) == {"unverified"}
