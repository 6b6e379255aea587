"""FID, KID, IS, LPIPS: distances in closed form, one pass of the network, weights that lack."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import draw, refusal
from torch import nn

from scripts.evaluation import network_metrics
from scripts.evaluation.compare import ImageSet, pixels_of_pair
from scripts.evaluation.network_metrics import frechet_distance, inception_score, kernel_distance
from util import downloads as publishing
from util.downloads import download_weights


def test_the_frechet_distance_of_two_gaussians_is_that_of_the_closed_form():
    torch.manual_seed(0)
    count = 200_000
    spread = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    fake = torch.randn(count, 3, dtype=torch.float64) * spread + torch.tensor([1.0, 0.0, -2.0])
    real = torch.randn(count, 3, dtype=torch.float64)
    # Of diagonal covariances: |difference of the means|² + Σ (σ₁ − σ₂)².
    exact = (1 + 0 + 4) + ((spread - 1) ** 2).sum().item()
    assert frechet_distance(fake, real) == pytest.approx(exact, rel=0.01)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-6)


def test_the_kernel_distance_is_the_unbiased_mmd_of_the_cubic_kernel():
    torch.manual_seed(0)
    fake, real = torch.randn(40, 5) + 0.5, torch.randn(40, 5)

    def kernel(x, y):
        return (x @ y.T / 5 + 1) ** 3

    n, own = 40, []
    for x in (fake, real):
        square = kernel(x, x)
        own.append((square.sum() - square.diag().sum()) / (n * (n - 1)))
    exact = own[0] + own[1] - 2 * kernel(fake, real).mean()
    # A subset of all images is the whole set, in whatever order.
    assert kernel_distance(fake, real, 40) == pytest.approx(exact.item(), rel=1e-4)
    part = kernel_distance(fake, real, 20)
    assert part == kernel_distance(fake, real, 20) != pytest.approx(exact.item(), rel=1e-6)


def test_the_inception_score_is_the_number_of_classes_that_are_told_apart():
    certain = torch.eye(4).repeat(25, 1) * 100
    assert 3.3 < inception_score(certain) <= 4  # of ten shuffled splits
    assert inception_score(torch.zeros(100, 4)) == pytest.approx(1)


class FakeInception(nn.Module):
    """Counts the images that it sees; features are their mean colours."""

    def __init__(self):
        super().__init__()
        self.seen = 0

    def forward(self, x):
        assert x.dtype == torch.uint8 and x.shape[:2] == (1, 3)
        self.seen += 1
        means = x.float().mean((2, 3))
        return means, means / 50


@pytest.fixture
def folders(tmp_path: Path) -> list:
    flags = []
    for side, first in (("fake", 0), ("real", 100)):
        (tmp_path / side).mkdir()
        for i in range(12):
            draw((31, 40), seed=first + i).save(tmp_path / side / f"{i}.png")
        flags += [f"--{side}", tmp_path / side]
    return [*flags, "--out", tmp_path / "out", "--gpu_ids", "-1", "--num_threads", "1"]


def test_one_pass_over_the_images_serves_fid_kid_and_is(command, folders, caplog, monkeypatch):
    net = FakeInception()
    monkeypatch.setattr(network_metrics, "inception", lambda weights: net)
    flags = ["--metrics", "FID,KID,IS", "--kid_subset", "12"]
    result = command("scripts.evaluate", *folders, *flags)
    assert result.status == 0, result.err
    assert net.seen == 24
    for metric in ("FID", "KID", "IS"):
        assert any(line.startswith(f"{metric} (") for line in caplog.messages)
        assert any(line.startswith(f"{metric}: ") for line in caplog.messages)  # the protocol


def test_images_that_repeat_in_a_test_of_unpaired_sets_count_once(tmp_path, monkeypatch):
    monkeypatch.setattr(network_metrics, "inception", lambda weights: FakeInception())
    seeds = {"fake": [*range(12), 0, 1], "source": [*range(20, 32), 20, 21], "real": range(40, 54)}
    files = {}
    for side, numbers in seeds.items():
        (tmp_path / side).mkdir()
        for i, seed in enumerate(numbers):
            draw((31, 40), seed=seed).save(tmp_path / side / f"{i:02d}.png")
        files[side] = {f"{i:02d}": tmp_path / side / f"{i:02d}.png" for i in range(14)}
    how = {"weights": None, "subset": 12, "device": torch.device("cpu")}
    options = SimpleNamespace(dataset_mode="unaligned")
    repeated = ImageSet("r", **files, options=options)
    fewer = {**files, "fake": dict(list(files["fake"].items())[:12])}
    once = ImageSet("r", **fewer)
    metrics = ["FID", "KID", "IS"]
    found = network_metrics.inception_metrics(repeated, metrics, **how)
    assert found == network_metrics.inception_metrics(once, metrics, **how)
    assert repeated.notes == ["r: FID, KID, IS: N = 12 outputs and 14 targets that do not repeat"]
    assert not once.notes
    refusal(
        lambda: network_metrics.inception_metrics(repeated, ["KID"], **{**how, "subset": 13}),
        "needs at least 13 images, not 12",
    )


def test_a_pair_of_two_sizes_is_an_error(tmp_path):
    draw((31, 40)).save(tmp_path / "a.png")
    draw((40, 31)).save(tmp_path / "b.png")
    files = tmp_path / "a.png", tmp_path / "b.png"
    refusal(lambda: pixels_of_pair(*files), "a.png has 31x40", "b.png 40x31", "to one size")


@pytest.mark.parametrize(
    ("metrics", "more", "words"),
    [
        ("KID", ["--kid_subset", "13"], ["--metrics KID", "at least 13 images, not 12"]),
        ("FID", ["--inception_weights", "nowhere.pth"], ["--inception_weights nowhere.pth"]),
        ("FID", [], ["--metrics FID", "could not be downloaded", "save it as", "6726825d.pth"]),
        ("LPIPS", [], ["--metrics LPIPS", "could not be downloaded", "alexnet-owt-7be5be79.pth"]),
    ],
)
def test_what_lacks_is_named_with_the_way_to_it(
    command, folders, monkeypatch, tmp_path, metrics, more, words
):
    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("torch.hub.urlopen", offline)
    result = command("scripts.evaluate", *folders, "--metrics", metrics, *more)
    assert result.status == 2 and all(word in result.err for word in words), result.err


def test_too_few_images_are_refused():
    for metric, least in (("FID", 2), ("IS", 10)):
        with pytest.raises(ValueError, match=f"--metrics {metric}: needs at least {least}"):
            network_metrics.check_count(metric, least - 1, 5)
        network_metrics.check_count(metric, least, 5)


@pytest.mark.slow
def test_the_real_networks_run_on_weights_of_no_meaning(command, folders, monkeypatch, tmp_path):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torchvision.models import AlexNet_Weights, alexnet

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    cache = tmp_path / "home/hub/checkpoints"
    cache.mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(nn.Module, "load_state_dict", lambda self, state: None)
        patch.setattr(torch, "load", lambda *args, **kwargs: {})
        net = FeatureExtractorInceptionV3("x", ["2048"], feature_extractor_weights_path="x")
    saved = {"inception": net.state_dict(), "alexnet": alexnet().state_dict()}
    urls = {}
    for name, state in saved.items():
        torch.save(state, tmp_path / f"{name}.pth")
        digest = hashlib.sha256((tmp_path / f"{name}.pth").read_bytes()).hexdigest()[:8]
        urls[name] = f"https://nowhere/{name}-{digest}.pth"
        (tmp_path / f"{name}.pth").rename(cache / f"{name}-{digest}.pth")
    monkeypatch.setattr(network_metrics, "INCEPTION", urls["inception"])
    monkeypatch.setattr(AlexNet_Weights.DEFAULT.value, "url", urls["alexnet"], raising=False)
    flags = ["--metrics", "LPIPS,FID,KID,IS", "--kid_subset", "12"]
    result = command("scripts.evaluate", *folders, *flags, "--no_html")
    assert result.status == 0, result.err


# Published files ---------------------------------------------------------------------------


def test_a_file_whose_content_is_not_what_its_name_says_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    path = tmp_path / "hub/checkpoints/net-12345678.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match="net-12345678.pth: its SHA-256 begins with"):
        download_weights("https://nowhere/net-12345678.pth", None, "--flag", "--option")
    digest = hashlib.sha256(b"something else").hexdigest()[:8]
    good = path.rename(path.with_name(f"net-{digest}.pth"))
    url = f"https://nowhere/{good.name}"
    assert download_weights(url, None, "--flag", "--option") == good
    moved = good.rename(tmp_path / "mine.pth")
    assert download_weights(url, moved, "--flag", "--option") == moved


def test_it_is_downloaded_once_into_torchs_cache(tmp_path, monkeypatch):
    digest = hashlib.sha256(b"weights").hexdigest()[:8]
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    asked = []

    def download(url, path, hash_prefix, progress):
        asked.append((url, hash_prefix))
        Path(path).write_bytes(b"weights")

    monkeypatch.setattr(publishing.torch.hub, "download_url_to_file", download)
    url = f"https://nowhere/net-{digest}.pth"
    for _ in range(2):
        path = download_weights(url, None, "--flag", "--option")
        assert np.array_equal(path.read_bytes(), b"weights")
    assert asked == [(url, digest)]
