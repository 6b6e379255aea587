"""What a run shows: images, pages, loss lines, a bar in a terminal."""

import io
import json
import logging
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from options.base_options import Options
from options.train_options import TrainOptions
from util.displays.curves import plot_curves
from util.displays.loss_log import Entry, parse_line
from util.displays.loss_plot import plot_losses, rows_of
from util.displays.val_log import Scores
from util.html import HTML
from util.util import tensor2im
from util.visualizer import Visualizer, save_images

LOSSES = {"G_GAN": 0.931, "G_L1": 9.123}


def visuals(seed: int = 0, channels: int = 3) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = ("real_A", "fake_B", "real_B")
    return {k: torch.rand(2, channels, 6, 8, generator=generator) * 2 - 1 for k in labels}


def shown_epochs(page: str) -> list[list[int]]:
    """Return the epochs of a training's page, each with the number of its images."""
    return json.loads(re.search(r'id="run"[^>]*>(.*?)</script>', page)[1])["epochs"]


@pytest.fixture
def options(tmp_path: Path):
    def read(*flags: str) -> Options:
        args = ["--checkpoints_dir", str(tmp_path), "--name", "run", "--gpu_ids", "-1", *flags]
        return TrainOptions().read(args)

    return read


def test_images_are_named_by_stem_and_label_and_stand_in_a_row(tmp_path):
    page, shown = HTML(tmp_path, "title"), visuals()
    save_images(page, shown, ["some/where/cat.jpg"])
    page.save()
    names = [f"cat_{label}.png" for label in shown]
    assert sorted(path.name for path in page.img_dir.iterdir()) == sorted(names)
    text = page.path.read_text(encoding="utf-8")
    places = [text.index(f"images/{name}") for name in names]
    assert text.index("<h2>cat</h2>") < places[0] and places == sorted(places)
    for label, image in shown.items():
        saved = np.asarray(Image.open(page.img_dir / f"cat_{label}.png"))
        np.testing.assert_array_equal(saved, tensor2im(image))


def test_equal_stems_do_not_overwrite_each_other(tmp_path):
    page = HTML(tmp_path, "title")
    for seed, path in enumerate(("a/cat.jpg", "b/cat.jpg", "c/cat.png")):
        save_images(page, visuals(seed), [path])
    page.save()
    for seed, stem in enumerate(("cat", "cat_2", "cat_3")):
        saved = np.asarray(Image.open(page.img_dir / f"{stem}_fake_B.png"))
        np.testing.assert_array_equal(saved, tensor2im(visuals(seed)["fake_B"]))
    text = page.path.read_text(encoding="utf-8")
    for heading in ("cat", "cat_2 (b/cat.jpg)", "cat_3 (c/cat.png)"):
        assert f"<h2>{heading}</h2>" in text


def test_grey_images_and_aspect_ratio_reach_the_file(tmp_path):
    page = HTML(tmp_path, "title")
    save_images(page, visuals(channels=1), ["cat.jpg"], aspect_ratio=2.0)
    saved = Image.open(page.img_dir / "cat_real_A.png")
    assert saved.mode == "L" and saved.size == (16, 6)


def test_run_leaves_a_log_and_a_page_with_the_newest_epoch_first(options, tmp_path):
    visualizer = Visualizer(options())
    for epoch in (1, 2, 3):
        visualizer.print_current_losses(epoch, 10, LOSSES, 0.5, 0.25)
        visualizer.display_current_results(visuals(epoch), epoch)
    log = (tmp_path / "run" / "loss_log.txt").read_text().splitlines()
    assert [parse_line(line).epoch for line in log[1:]] == [1, 2, 3]
    assert parse_line(log[1]) == Entry(1, 10, LOSSES, 0.5, 0.25)
    web = tmp_path / "run" / "web"
    text = (web / "index.html").read_text(encoding="utf-8")
    assert shown_epochs(text) == [[1, 1], [2, 1], [3, 1]] and "images/losses.png" in text
    assert "images/epoch003_fake_B.png" in text  # the last one, without JavaScript
    for epoch in (1, 2, 3):
        for label, image in visuals(epoch).items():
            saved = np.asarray(Image.open(web / "images" / f"epoch{epoch:03d}_{label}.png"))
            np.testing.assert_array_equal(saved, tensor2im(image))
    assert Image.open(web / "images" / "losses.png").format == "PNG"


def test_the_curves_have_the_scores_of_the_epoch_and_mark_the_best(options, tmp_path, monkeypatch):
    drawn = []

    def noted(entries, folder, scores, **marks):
        drawn.append(([s.epoch for s in scores], marks["best_epoch"]))
        return plot_curves(entries, folder, scores, **marks)

    monkeypatch.setattr("util.displays.web_page.plot_curves", noted)
    visualizer = Visualizer(options())
    for epoch in (1, 2):
        visualizer.print_current_losses(epoch, 10, LOSSES, 0.5, 0.25)
        visualizer.print_scores(Scores(epoch, {"L1": 0.5 * epoch}, best_epoch=1))
        visualizer.display_current_results(visuals(epoch), epoch)
    assert drawn == [([1], 1), ([1, 2], 1)]


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("L1", "★: the best epoch by val L1; "),
        ("PSNR_ema", "★: the best epoch by val PSNR of the EMA of G; "),
        ("", "★: the best epoch; "),
    ],
)
def test_the_page_says_by_what_an_epoch_is_the_best(options, tmp_path, metric, words):
    visualizer = Visualizer(options())
    visualizer.print_current_losses(1, 10, LOSSES, 0.5, 0.25)
    visualizer.print_scores(Scores(1, {"L1": 0.5}, best_epoch=1, best_metric=metric))
    visualizer.display_current_results(visuals(), 1)
    text = (tmp_path / "run" / "web" / "index.html").read_text(encoding="utf-8")
    assert words in text and f'title="{words[3:-2]}"' in text


def test_without_a_best_epoch_no_star_is_explained(options, tmp_path):
    visualizer = Visualizer(options())
    visualizer.print_current_losses(1, 10, LOSSES, 0.5, 0.25)
    visualizer.display_current_results(visuals(), 1)
    assert "★" not in (tmp_path / "run" / "web" / "index.html").read_text(encoding="utf-8")


def test_no_curve_stands_alone_below_full_rows():
    assert rows_of(7, 3) == [3, 2, 2] and rows_of(10, 3) == [3, 3, 2, 2]
    for count in range(2, 40):
        rows = rows_of(count, 3)
        assert sum(rows) == count and max(rows) <= 3 and min(rows) >= 2
    assert rows_of(1, 3) == [1] and rows_of(3, 1) == [1, 1, 1]


def test_each_row_of_curves_is_as_wide_as_the_plot(tmp_path):
    losses = {f"loss_{i}": 1.0 for i in range(7)}
    entries = [Entry(1, n, losses, 0.1, 0.1) for n in (1, 2)]
    panels = plot_losses(entries, tmp_path / "losses.png")
    for row in (panels[:3], panels[3:5], panels[5:]):
        assert len({round(panel.top, 3) for panel in row}) == 1
        assert row[0].left < 0.1 and row[-1].left + row[-1].width > 0.97


def test_page_comes_before_the_first_losses_too(options, tmp_path):
    Visualizer(options()).display_current_results(visuals(), 1)
    text = (tmp_path / "run" / "web" / "index.html").read_text(encoding="utf-8")
    assert shown_epochs(text) == [[1, 1]] and "losses.png" not in text


def test_a_continued_run_shows_earlier_epochs(options, tmp_path):
    Visualizer(options()).display_current_results(visuals(), 1)
    Visualizer(options("--continue_train")).display_current_results(visuals(), 3)
    text = (tmp_path / "run" / "web" / "index.html").read_text(encoding="utf-8")
    assert shown_epochs(text) == [[1, 1], [3, 1]]


def test_images_of_a_replaced_run_are_not_shown(options, tmp_path):
    for epoch in range(1, 6):
        Visualizer(options()).display_current_results(visuals(), epoch)
    page = tmp_path / "run" / "web" / "index.html"
    Visualizer(options("--continue_train")).display_current_results(visuals(), 3)  # gone back
    assert shown_epochs(page.read_text(encoding="utf-8")) == [[1, 1], [2, 1], [3, 1]]
    Visualizer(options("--overwrite")).display_current_results(visuals(), 1)
    assert shown_epochs(page.read_text(encoding="utf-8")) == [[1, 1]]


def test_the_last_batch_of_an_epoch_counts_as_its_end(options):
    visualizer = Visualizer(options())
    visualizer.start_epoch(2, images=90)
    assert visualizer._total(2, 96) == visualizer._total(2, 90) == 180


def test_no_html_writes_no_page(options, tmp_path):
    visualizer = Visualizer(options("--no_html"))
    visualizer.print_current_losses(1, 10, LOSSES, 0.5, 0.25)
    visualizer.display_current_results(visuals(), 1)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["loss_log.txt"]


class Terminal(io.StringIO):
    """Standard error that a person watches."""

    def isatty(self) -> bool:
        return True


def begin_epoch(visualizer: Visualizer) -> None:
    visualizer.start_epoch(1, images=3)
    visualizer.advance(2)
    visualizer.print_current_losses(1, 2, LOSSES, 0.5, 0.25)
    visualizer.advance(2)


def test_without_a_terminal_plain_lines_are_logged(options, tmp_path, caplog, capsys):
    visualizer = Visualizer(options())
    with caplog.at_level(logging.INFO):
        begin_epoch(visualizer)
        visualizer.end_epoch("epoch 1/9 took 3 s")
    line = (tmp_path / "run" / "loss_log.txt").read_text().splitlines()[1]
    assert caplog.messages == [line, "epoch 1/9 took 3 s"]
    assert capsys.readouterr() == ("", "")


def test_in_a_terminal_a_bar_shows_the_losses_instead(options, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    visualizer = Visualizer(options())
    with caplog.at_level(logging.INFO):
        begin_epoch(visualizer)
        assert visualizer.bar.n == visualizer.bar.total == 3
        visualizer.end_epoch("epoch 1/9 took 3 s")
    shown = sys.stderr.getvalue()
    assert "epoch 1" in shown and "G_GAN 0.931 G_L1 9.12" in shown
    assert caplog.messages == ["epoch 1/9 took 3 s"]
    assert "G_GAN: 0.931" in (tmp_path / "run" / "loss_log.txt").read_text()


@pytest.mark.parametrize("flags", [[], ["--display_id", "-1"], ["--display_id", "0"]])
def test_displays_that_are_off_are_not_warned_of(options, caplog, flags):
    Visualizer(options(*flags))
    assert caplog.records == []


def test_loss_curves_are_drawn_with_gaps_and_odd_values(tmp_path):
    losses = [{"G": 1.0}, {"G": float("nan")}, {"G": 2.0, "D": float("inf")}, {"G": 3.0, "D": 1.0}]
    entries = [Entry(1, i + 1, values, 0.1, 0.1) for i, values in enumerate(losses)]
    plot_losses(entries, tmp_path / "losses.png")
    two = Image.open(tmp_path / "losses.png").size
    plot_losses(entries[:2], tmp_path / "losses.png")
    assert two[0] > Image.open(tmp_path / "losses.png").size[0]
