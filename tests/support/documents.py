"""The documents as text, and their blocks of code."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = {path.name: path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}


def blocks(page: str, language: str = "bash") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def lines(page: str) -> list[str]:
    """The commands of a page, without comments."""
    found = "".join(blocks(page)).splitlines()
    return [line for line in found if line.strip() and not line.startswith("#")]
