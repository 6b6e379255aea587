"""Files in parts that every web host takes, with their hashes."""

import hashlib
from pathlib import Path
from typing import Any

MOST = 20 * 10**6  # bytes of a part; some hosts take no file above 25 MB


def write_parts(content: bytes, folder: Path, name: str) -> list[dict[str, Any]]:
    """Write `content` into files of at most `MOST` bytes: NAME.0, NAME.1, …; return their names,
    sizes and SHA-256.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for number, start in enumerate(range(0, len(content), MOST)):
        part = content[start : start + MOST]
        (folder / f"{name}.{number}").write_bytes(part)
        digest = hashlib.sha256(part).hexdigest()
        parts.append({"file": f"{name}.{number}", "size": len(part), "sha256": digest})
    return parts
