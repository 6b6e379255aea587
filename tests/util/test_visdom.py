"""visdom: what a real server is shown, and servers that are absent, fail, hang or die."""

import base64
import io
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from support.servers import (
    LOSSES,
    THREE,
    VisdomServer,
    be_patient,
    deaf_server,
    failing_server,
    free_port,
    show_step,
    start_run,
    time_displays,
    train,
    trained,
    visdom_server,
    visuals,
    wait_for,
    warnings,
)

from util.displays import visdom_display
from util.displays.val_log import Scores
from util.util import tensor2im
from util.visualizer import Visualizer

pytestmark = pytest.mark.slow  # servers, browsers: seconds each

Command = Callable[..., SimpleNamespace]


def pixels(window: dict[str, Any]) -> np.ndarray:
    """Decode the image in a window."""
    data = window["content"]["src"].split("base64,")[1]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def holds(shown: np.ndarray, image: torch.Tensor) -> bool:
    """Return whether an image lies in another one, pixel by pixel."""
    wanted = tensor2im(image)
    wanted = np.broadcast_to(wanted, (*wanted.shape[:2], 3))
    views = np.lib.stride_tricks.sliding_window_view(shown, wanted.shape)
    return bool((views == wanted).all(axis=(-3, -2, -1)).any())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VisdomServer]:
    with visdom_server(tmp_path_factory.mktemp("visdom")) as running:
        yield running


@pytest.fixture
def visualizer(
    tmp_path: Path, server: VisdomServer, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Visualizer]:
    """Make a visualizer of a run that the server shows from a window on."""
    be_patient(monkeypatch)
    return lambda window, *flags: start_run(tmp_path, *at(server.port, window), *flags)


def at(port: int, window: int = 1) -> list[Any]:
    """Return the flags for visdom at a port."""
    return ["--display_port", port, "--display_id", window]


def curves(window: dict[str, Any]) -> dict[str, tuple[list[float], list[float]]]:
    """Return x and y by loss."""
    return {curve["name"]: (curve["x"], curve["y"]) for curve in window["content"]["data"]}


def test_curves_run_over_the_images_of_all_epochs(server, visualizer, caplog) -> None:
    made = visualizer(11, "--display_env", "curves")
    values = [(1, 2, 0.5, 8.0), (1, 3, 0.25, 4.0), (2, 1, float("nan"), 2.0), (2, 3, 1.0, 1.0)]
    for epoch, iters, G_GAN, G_L1 in values:
        made.print_current_losses(epoch, iters, {"G_GAN": G_GAN, "G_L1": G_L1}, 0.5, 0.25)
    made.close()
    window = server.window(11, "curves")
    assert curves(window) == {
        "G_GAN": ([2, 3, 4, 6], [0.5, 0.25, None, 1.0]),
        "G_L1": ([2, 3, 4, 6], [8, 4, 2, 1]),
    }
    assert window["legend"] == ["G_GAN", "G_L1"] and window["title"] == "r: losses"
    assert window["content"]["layout"]["showlegend"]
    assert window["content"]["layout"]["xaxis"]["title"] == "images"
    assert server.window(11, "main") is None
    assert warnings(caplog) == []


def test_each_score_of_a_validation_has_a_window(server, visualizer, caplog) -> None:
    made = visualizer(15)
    for epoch in (1, 2):
        made.print_scores(Scores(epoch, {"L1": 0.5 / epoch, "PSNR": 10.0 * epoch}))
    made.close()
    assert curves(server.window("15_val_L1")) == {"L1": ([3, 6], [0.5, 0.25])}
    assert curves(server.window("15_val_PSNR")) == {"PSNR": ([3, 6], [10, 20])}
    assert server.window("15_val_L1")["title"] == "r: val L1"
    assert warnings(caplog) == []


def test_a_single_loss_is_a_curve_too(server, visualizer, caplog) -> None:
    made = visualizer(21)
    for n in (1, 2):
        made.print_current_losses(1, n, {"G": n / 2}, 0.5, 0.25)
    made.close()
    assert curves(server.window(21)) == {"G": ([1, 2], [0.5, 1.0])}
    assert warnings(caplog) == []


@pytest.mark.parametrize("columns, rows", [(1, 3), (2, 2), (4, 1)])
def test_images_stand_in_rows_of_display_ncols(server, visualizer, columns: int, rows: int) -> None:
    window = 100 * columns
    shown = visuals([(3, 6, 8), (1, 6, 8), (3, 6, 8)])
    made = visualizer(window, "--display_ncols", columns)
    made.display_current_results(shown, 1, save_result=False, iters=2)
    made.close()
    found = server.window(window + 1)
    assert found["title"] == "r, epoch 1: real_A, fake_B, real_B"
    grid = pixels(found)
    assert grid.shape == (rows * (6 + 4), min(columns, 3) * (8 + 4), 3)
    assert all(holds(grid, image) for image in shown.values())
    assert server.window(window) is None and server.window(window + 2) is None


@pytest.mark.parametrize(
    "window, columns, sizes", [(31, 0, THREE), (41, 4, [(3, 6, 8), (1, 5, 8), (3, 12, 16)])]
)
def test_without_columns_or_of_different_sizes_each_image_has_a_window(
    server, visualizer, window: int, columns: int, sizes: list[tuple[int, int, int]]
) -> None:
    made, shown = visualizer(window, "--display_ncols", columns), visuals(sizes)
    made.display_current_results(shown, 2, save_result=False, iters=2)
    made.close()
    for i, (label, image) in enumerate(shown.items(), start=1):
        found = server.window(window + i)
        assert found["title"] == f"r, epoch 2: {label}"
        assert pixels(found).shape == (*image.shape[2:], 3) and holds(pixels(found), image)
    assert server.window(window + 4) is None


def test_newer_images_replace_older_ones(server, visualizer) -> None:
    made = visualizer(51)
    for n in (1, 2, 3):
        show_step(made, n, seed=n)
    made.close()
    grid = pixels(server.window(52))
    assert all(holds(grid, image) for image in visuals(seed=3).values())
    assert not any(holds(grid, image) for image in visuals(seed=2).values())
    assert server.window(53) is None


@pytest.mark.parametrize("window, address", [(61, "http://127.0.0.1"), (62, "localhost")])
def test_the_server_may_be_named_in_other_ways(
    server, visualizer, caplog, window: int, address: str
) -> None:
    made = visualizer(window, "--display_server", address)
    made.print_current_losses(1, 1, LOSSES, 0.5, 0.25)
    made.close()
    assert list(curves(server.window(window))) == list(LOSSES)
    assert warnings(caplog) == []


@pytest.mark.slow
def test_a_training_without_its_server_ends_well(
    command: Command, pairs: Path, caplog, monkeypatch
) -> None:
    times, port = time_displays(monkeypatch), free_port()
    result = train(command, pairs, *at(port))
    assert result.status == 0 and trained()
    assert times.are_bounded()
    assert len(warnings(caplog)) == 1 and "Traceback" not in result.out + result.err
    assert warnings(caplog)[0].startswith(f"visdom at http://localhost:{port}: ")


def test_a_server_that_never_answers_costs_a_training_two_seconds_at_its_end(
    command: Command, pairs: Path, caplog, monkeypatch
) -> None:
    times = time_displays(monkeypatch)
    with deaf_server() as port:
        result = train(command, pairs, *at(port))
    assert result.status == 0 and trained()
    assert times.are_bounded()
    assert len(warnings(caplog)) == 1 and "does not answer" in warnings(caplog)[0]


@pytest.mark.parametrize("server_of_no_use", [failing_server, deaf_server])
def test_a_server_of_no_use_is_given_up_while_the_training_goes_on(
    tmp_path, caplog, monkeypatch, server_of_no_use: Callable
) -> None:
    times = time_displays(monkeypatch)
    monkeypatch.setattr(visdom_display, "ANSWER", 0.3)
    with server_of_no_use() as port:
        visualizer = start_run(tmp_path, *at(port))
        show_step(visualizer, 1)
        wait_for(lambda: not visualizer.live[0].thread.is_alive(), "the display's end")
        show_step(visualizer, 2)
        visualizer.close()
    assert times.are_bounded(close=0)
    assert len(warnings(caplog)) == 1 and "the run continues without it" in warnings(caplog)[0]


def strike_in_epoch_2(server: VisdomServer, blow: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send the server a signal in the middle of a training."""
    show_losses = Visualizer.print_current_losses

    def strike(self: Visualizer, epoch: int, iters: int, *values: Any) -> None:
        if (epoch, iters) == (2, 2):
            wait_for(lambda: server.window(1), "the first losses")
            server.process.send_signal(blow)
        show_losses(self, epoch, iters, *values)

    monkeypatch.setattr(Visualizer, "print_current_losses", strike)


@pytest.mark.parametrize("blow", ["SIGKILL", pytest.param("SIGSTOP", marks=pytest.mark.slow)])
def test_a_server_that_dies_or_hangs_in_mid_run_costs_one_warning(
    command: Command, pairs: Path, tmp_path, caplog, monkeypatch, blow: str
) -> None:
    times = time_displays(monkeypatch)
    with visdom_server(tmp_path / "visdom") as server:
        strike_in_epoch_2(server, getattr(signal, blow), monkeypatch)
        result = train(command, pairs, *at(server.port), epochs=3)
    assert result.status == 0 and trained(epochs=3)
    assert times.are_bounded()
    assert len(warnings(caplog)) == 1 and "visdom at" in warnings(caplog)[0]
    assert "Error connecting" not in result.out + result.err  # the client prints too
