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
        said = self._download(dataset, "--to", str(save_path))
        if said is not None:
            raise ValueError(f"{dataset}: was not downloaded{said}")
        return str((Path(save_path) / dataset).resolve())

    def _download(self, *words: str) -> str | None:
        """Run scripts.download; return None if all went well, else why not."""
        line = [sys.executable, str(ROOT / "scripts/download.py"), f"{self.technique}_dataset"]
        if self.verbose:
            done = subprocess.run([*line, *words])
            return "; the line above says why" if done.returncode else None
        done = subprocess.run([*line, *words], capture_output=True, text=True)
        return f" ({done.stderr.strip()})" if done.returncode else None
