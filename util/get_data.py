"""Download a published data set from Python, by the name under which introductions know it:

from util.get_data import GetData
folder = GetData(technique="pix2pix").get(save_path="./datasets", dataset="facades")
"""

import subprocess
import sys
from pathlib import Path

from util.files import ROOT

TECHNIQUES = ("cyclegan", "pix2pix")


class GetData:
    """Downloads the data sets of pix2pix or of CycleGAN, as `python -m scripts.download` does."""

    def __init__(self, technique: str = "cyclegan", verbose: bool = True):
        """`technique` is one of `TECHNIQUES`, in any case; ValueError for another. With `verbose`
        the download says what it does.
        """
        self.technique, self.verbose = technique.lower(), verbose
        if self.technique not in TECHNIQUES:
            raise ValueError(f"technique {technique}: unknown; known are {', '.join(TECHNIQUES)}")

    def get(self, save_path: str | Path, dataset: str | None = None) -> str:
        """Download a data set into `save_path`, unless it is there; return its absolute path.

        Without `dataset` the names are listed, and one is asked for. ValueError if there is none
        of that name, or it cannot be downloaded.
        """
        if dataset is None:
            self._download("--list")
            dataset = input("Data set: ").strip()
        reason = self._download(dataset, "--to", str(save_path))
        if reason is not None:
            raise ValueError(f"{dataset}: was not downloaded{reason}")
        return str((Path(save_path) / dataset).resolve())

    def _download(self, *words: str) -> str | None:
        """Run scripts.download; return None if all went well, else why not."""
        command = [sys.executable, str(ROOT / "scripts/download.py"), f"{self.technique}_dataset"]
        if self.verbose:
            result = subprocess.run([*command, *words])
            return "; the line above says why" if result.returncode else None
        result = subprocess.run([*command, *words], capture_output=True, text=True)
        return f" ({result.stderr.strip()})" if result.returncode else None
