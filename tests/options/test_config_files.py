"""Options files in the encodings that editors and consoles write, and what else they hold."""

import codecs
import locale
from pathlib import Path

import pytest
from conftest import refusal

from options.config_files import decoded, read_run, read_yaml

TABLE = (
    "----------------- Options ---------------\n"
    "                     name: mädchen                       \t[default: experiment_name]\n"
    "                    netG: unet_128\n"
    "                     ngf: 32                            \t[default: 64]\n"
    "----------------- End -------------------\n"
)
ENCODED = {
    "utf-8": TABLE.encode(),
    "utf-8 with a mark": codecs.BOM_UTF8 + TABLE.encode(),
    "utf-16, as PowerShell's > writes": TABLE.encode("utf-16"),
    "utf-16 of the other order": codecs.BOM_UTF16_BE + TABLE.encode("utf-16-be"),
    "utf-16 without a mark": TABLE.encode("utf-16-le"),
    "utf-16 of the other order without a mark": TABLE.encode("utf-16-be"),
    "utf-32": TABLE.encode("utf-32"),
    "latin-1": TABLE.encode("latin-1"),
    "lines of Windows": TABLE.replace("\n", "\r\n").encode(),
}


@pytest.mark.parametrize("kind", ENCODED)
def test_a_table_of_options_is_read_in_any_encoding(tmp_path: Path, kind: str) -> None:
    (tmp_path / "train_opt.txt").write_bytes(ENCODED[kind])
    assert read_run(tmp_path) == {"name": "mädchen", "netG": "unet_128", "ngf": "32"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "latin-1"])
def test_yaml_and_json_are_read_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "f.yaml").write_bytes("ngf: 32\nname: Größe\n".encode(encoding))
    assert read_yaml(tmp_path / "f.yaml") == {"ngf": "32", "name": "Größe"}
    (tmp_path / "train_opt.json").write_bytes('{"ngf": 32, "name": "Größe"}'.encode(encoding))
    assert read_run(tmp_path) == {"ngf": 32, "name": "Größe"}


def test_the_encoding_of_the_machine_goes_before_latin_1(monkeypatch) -> None:
    monkeypatch.setattr(locale, "getpreferredencoding", lambda do_setlocale: "gbk")
    assert decoded("dataroot: 数据集".encode("gbk")) == "dataroot: 数据集"
    assert decoded("dataroot: 数据集".encode()) == "dataroot: 数据集"
    monkeypatch.setattr(locale, "getpreferredencoding", lambda do_setlocale: "no such encoding")
    assert decoded(b"\xe4") == "ä"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds nothing"),
        (b"<!DOCTYPE html>\n<html></html>", "<!DOCTYPE html>"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "PNG"),
        (codecs.BOM_UTF16_LE + b"x", "damaged"),
    ],
)
def test_a_file_of_something_else_is_told_by_its_own_name(tmp_path, content, words) -> None:
    (tmp_path / "train_opt.txt").write_bytes(content)
    refusal(lambda: read_run(tmp_path), str(tmp_path / "train_opt.txt"), words, "delete it")


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b'{"ngf": ', bytes(range(256))])
def test_a_damaged_json_is_told_by_its_own_name(tmp_path, content) -> None:
    (tmp_path / "train_opt.json").write_bytes(content)
    refusal(lambda: read_run(tmp_path), str(tmp_path / "train_opt.json"), "damaged")


def test_yaml_that_would_make_objects_is_refused(tmp_path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("name: !!python/object/apply:os.getcwd []\n")
    refusal(lambda: read_yaml(file), "c.yaml", "constructor for the tag")
