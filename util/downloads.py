"""Download published weights, and check their hash."""

import hashlib
from pathlib import Path

import torch


def download_weights(url: str, given: Path | None, flag: str, option: str) -> Path:
    """Download `url` to torch's cache if missing, check the SHA-256 prefix in its file name, and
    return the path; `given` replaces the cached file.

    ValueError names the `flag` that needs the file, its place, and the `option` that names it.
    """
    name = url.rpartition("/")[2]
    path = given or Path(torch.hub.get_dir()) / "checkpoints" / name
    digest = Path(name).stem.rpartition("-")[2]
    if given is None and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), digest, progress=False)
        except (OSError, RuntimeError) as error:  # URLError is an OSError; RuntimeError: the hash
            advice = f"save it as {path}" + (f" or name the file with {option}" if option else "")
            raise ValueError(f"{flag}: {url} could not be downloaded ({error}); {advice}") from None
    if not path.is_file():
        raise ValueError(f"{option} {path}: no such file; download it from {url}")
    actual = hashlib.sha256(path.read_bytes()).hexdigest()
    if not actual.startswith(digest):
        raise ValueError(
            f"{flag}: {path} is not {name}: its SHA-256 begins with {actual[:8]}, not {digest}; "
            f"delete it" + (f", or name the file with {option}" if option else "")
        )
    return path
