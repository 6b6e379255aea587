"""A translator works in processes that are forked after its first translation."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from models.networks import define_G

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import multiprocessing as mp, os, sys
from concurrent.futures import ProcessPoolExecutor
import torch
from translator import Translator

torch.set_num_threads(2)
t = Translator.load("r", gpu_ids=-1, netG="unet_64", ngf=16, model="test", preprocess="none")
x = torch.rand(3, 256, 256) * 2 - 1
before = t(x)

def work(i):
    return torch.allclose(t(x), before, atol=1e-4) and torch.get_num_threads() == 1

if sys.argv[1] == "pool":
    with mp.get_context("fork").Pool(2) as pool:
        print(all(pool.map(work, range(3))))
elif sys.argv[1] == "futures":
    with ProcessPoolExecutor(1, mp_context=mp.get_context("fork")) as pool:
        print(all(pool.map(work, range(2))))
else:
    child = os.fork()
    if child == 0:
        os._exit(0 if work(0) else 1)
    print(os.waitpid(child, 0)[1] == 0)
print(torch.get_num_threads())
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without forks")
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no forks")
@pytest.mark.parametrize("kind", ["pool", "futures", "fork"])
def test_a_forked_process_translates(tmp_path: Path, kind: str) -> None:
    (tmp_path / "r").mkdir()
    torch.save(define_G(3, 3, 16, "unet_64", "batch").state_dict(), tmp_path / "r/latest_net_G.pth")
    done = subprocess.run(
        [sys.executable, "-c", CODE, kind],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.splitlines()[-2:] == ["True", "2"], done.stderr


@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="a system without forks")
def test_the_translator_sees_to_it(make, monkeypatch) -> None:
    from options.test_options import TestOptions
    from translator import Translator
    from util.process_pool import survive_forks

    make().save_networks("latest")
    registered = []
    monkeypatch.setattr(os, "register_at_fork", lambda **after: registered.append(after))
    survive_forks.cache_clear()
    opt = make(options=TestOptions).opt
    Translator(opt)
    Translator(opt)
    (after,) = registered
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        after["after_in_child"]()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
