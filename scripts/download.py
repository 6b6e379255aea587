"""Fetch a published dataset or model: `python -m scripts.download pix2pix_dataset facades`.

`datasets/sources.yaml` lists the names, and `--list` prints them with their licences. Run the
command again to resume an interrupted download.
"""

import contextlib
import difflib
import hashlib
import logging
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # python scripts/download.py

import yaml

from options.parser import OneLineParser
from scripts.downloads.resumable import NetworkError, discard, download_rest, size_of
from scripts.downloads.unpack import unpack
from util.checkpoint import load_weights
from util.command import run_command, run_line, setup_logging
from util.files import ROOT

log = logging.getLogger(__name__)

TABLE = ROOT / "datasets" / "sources.yaml"
TRIES = 5  # consecutive attempts without progress on one mirror
PAUSE = 1.0  # seconds between attempts
NOT_OFFERED = {
    "cityscapes": "its licence does not allow passing it on; get gtFine and leftImg8bit from "
    "https://www.cityscapes-dataset.com and run datasets/prepare_cityscapes_dataset.py"
}


class Source(NamedTuple):
    """One dataset or model to download; `size` and `sha256` are None if unverified.

    `use` is an example command for it.
    """

    name: str
    urls: list[str]
    target: Path
    size: int | None
    sha256: str | None
    use: str = ""


def main(argv: Sequence[str] | None = None) -> None:
    """Download a dataset or model; ValueError for a user's mistake or a failed download."""
    setup_logging()
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    parser = OneLineParser(prog="python -m scripts.download", description=__doc__)
    parser.add_argument("kind", choices=[*table], help="kind of dataset or model")
    parser.add_argument(
        "name", nargs="?", help="name of the dataset or model; by default, list the names"
    )
    parser.add_argument("--list", action="store_true", help="list the names and their licences")
    parser.add_argument(
        "--to", metavar="FOLDER", help="where it goes; by default datasets or checkpoints"
    )
    parser.add_argument("--mirror", help="URL to try first; {name} in it is replaced by the name")
    args = parser.parse_args(argv)
    if args.list or args.name is None:
        list_names(table[args.kind]["names"])
        return
    source = find(table, args.kind, args.name, args.mirror, args.to)
    if source.target.exists():
        twins = [kind for kind in table if kind != args.kind and same_target(table, kind, source)]
        other = f"; it may be a {twins[0]}, which has the same path" if twins else ""
        log.info("%s already exists; delete it to download it again%s", source.target, other)
    else:
        fetch(source)
        _, script, *words = shlex.split(source.use)  # python train.py …
        log.info("%s is ready: %s", source.target, run_line(script, *words))


def list_names(names: dict[str, dict[str, Any]]) -> None:
    """Print name, state of the hash and licence of each entry, a line each."""
    print(f"{'name':<24}{'hash':<12}licence")
    for name, entry in names.items():
        state = "known" if "sha256" in entry else "unverified"
        print(f"{name:<24}{state:<12}{entry.get('licence', 'none stated')}")


def find(
    table: dict[str, Any], kind: str, name: str, mirror: str | None = None, to: str | None = None
) -> Source:
    """Return an entry of the table, for the folder `to` if it is given; ValueError for a name that
    is not in it.
    """
    section = table[kind]
    if name not in section["names"]:
        if name in NOT_OFFERED:
            raise ValueError(f"{name}: not offered, since {NOT_OFFERED[name]}")
        near = difflib.get_close_matches(name, section["names"], n=1)
        meant = f"did you mean {near[0]}? Known names:" if near else "known names:"
        raise ValueError(f"{name}: no such {kind}; {meant} {', '.join(section['names'])}")
    entry = section["names"][name]
    mirrors = [*([mirror] if mirror else []), *section["mirrors"]]
    urls = [address.replace("{name}", name) for address in mirrors]
    target = Path(section["target"].format(name=name))
    use = entry.get("use", section["use"]).format(name=name)
    if to is not None:
        default, target = target.parts[0], Path(to, *target.parts[1:])
        use = use.replace(f"./{default}/", f"{shlex.quote(to)}/")
        use += f" --checkpoints_dir {shlex.quote(to)}" if target.suffix == ".pth" else ""
    return Source(name, urls, target, entry.get("size"), entry.get("sha256"), use)


def same_target(table: dict[str, Any], kind: str, source: Source) -> bool:
    """Return whether the entry of this name in `kind` has the same target path as `source`."""
    section = table[kind]
    target = Path(section["target"].format(name=source.name))
    return source.name in section["names"] and target == source.target


def fetch(source: Source) -> None:
    """Download, check and install; `source.target` appears only when it is complete.

    ValueError lists the failure of each mirror.
    """
    part = source.target.parent / f"{source.urls[-1].rpartition('/')[2]}.part"
    part.parent.mkdir(parents=True, exist_ok=True)
    failures = []
    for url in source.urls:
        try:
            download(url, part)
            check(part, source)
            install(part, source.target)
            return
        except (NetworkError, ValueError) as error:
            failures.append(f"{url}: {error}")
    if source.target.suffix == ".pth":  # a model has its own folder
        with contextlib.suppress(OSError):  # kept if it holds a partial download
            part.parent.rmdir()
    raise ValueError(
        f"{source.name}: could not be downloaded ({'; '.join(failures)}); run this again to "
        f"resume, or give another address with --mirror"
    )


def download(url: str, part: Path) -> None:
    """Download or resume `part`; NetworkError after `TRIES` attempts without progress."""
    failed, most = 0, size_of(part)
    while True:
        try:
            download_rest(url, part)
            return
        except NetworkError as error:
            failed = 1 if size_of(part) > most else failed + 1
            most = max(most, size_of(part))
            if error.final or failed == TRIES:
                raise
            log.info("%s: %s; trying again", url, error)
            time.sleep(PAUSE)


def check(part: Path, source: Source) -> None:
    """Compare size and hash with the table's, or print the hash; ValueError if they differ."""
    digest = hashlib.sha256()
    with part.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    wrong = ""
    if source.size not in (None, size_of(part)):
        wrong = f"got {size_of(part)} bytes, expected {source.size}"
    elif source.sha256 not in (None, digest.hexdigest()):
        wrong = f"SHA-256 is {digest.hexdigest()}, expected {source.sha256}"
    if wrong:
        discard(part)
        raise ValueError(f"{wrong}; the download was deleted")
    state = "as expected" if source.sha256 else "unverified: no published hash to compare with"
    log.info("SHA-256 %s (%s)", digest.hexdigest(), state)


def install(part: Path, target: Path) -> None:
    """Move a model, or unpack an archive, to `target`; ValueError if it is neither."""
    try:
        if target.suffix == ".pth":
            load_weights(part)
            part.replace(target)
        else:
            unpack(part, target)
    except ValueError:  # the file is invalid; after an OSError (full disk) it is kept
        discard(part)
        raise
    discard(part)


if __name__ == "__main__":
    raise SystemExit(run_command(main))
