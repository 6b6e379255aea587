"""The drawing page as a static web site: what is written, and what it does in a browser."""

import hashlib
import json
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from conftest import draw, draw_pairs, refusal
from PIL import Image
from support.drawing import Page, draw_labels, draw_lines, png, untrained
from support.holes import draw_photos, saved_run
from support.label_folders import draw_label_folders
from support.label_maps import SPADE
from support.sites import hosted, site_of

from scripts.onnx_export.check import Check
from scripts.static_site import build, half_weights, parts, runtime
from scripts.static_site.half_weights import Moved, moved_by, with_half_weights
from translator import Translator

pytest_plugins = ["support.drawing_pages"]


# Parts, half precision, the runtime ---------------------------------------------------------


def test_parts_are_the_whole_with_the_right_hashes(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "MOST", 1000)
    content = np.random.default_rng(0).bytes(2500)
    found = parts.write_parts(content, tmp_path / "network", "weights")
    files = [tmp_path / "network" / part["file"] for part in found]
    assert [part["file"] for part in found] == ["weights.0", "weights.1", "weights.2"]
    assert [part["size"] for part in found] == [1000, 1000, 500]
    assert b"".join(file.read_bytes() for file in files) == content
    for file, part in zip(files, found, strict=True):
        assert hashlib.sha256(file.read_bytes()).hexdigest() == part["sha256"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A run, its graph in a file, and what compares graphs."""
    from scripts import export

    root = tmp_path_factory.mktemp("graph")
    run = untrained(root, draw_labels(root / "labels"))
    place = ["--name", run.name, "--checkpoints_dir", str(root)]
    export.main([*place, "--processing", "--output", str(root / "full.onnx")])
    translator = Translator.load(run, gpu_ids=-1, dropout_at_test="off", preprocess="none")
    check = Check(translator, size=None, processing=True, tolerance=1e-3)
    return SimpleNamespace(root=root, check=check, full=root / "full.onnx")


def test_half_of_the_bytes_move_outputs_by_little(exported):
    model = onnx.load(exported.full)
    half = exported.root / "half.onnx"
    onnx.save(with_half_weights(model), half)
    assert half.stat().st_size < 0.6 * exported.full.stat().st_size
    moved = moved_by(exported.full, half, exported.check, [exported.check.batch(2, 64, 64)])
    assert 0 < moved.levels <= 2 and moved.share == 0 and moved.allowed
    assert moved_by(
        exported.full, exported.full, exported.check, [exported.check.batch(1, 9, 9)]
    ) == (0, 0)


def test_weights_that_half_precision_spoils_are_found(exported):
    model = onnx.load(exported.full)
    for weight in model.graph.initializer:
        values = onnx.numpy_helper.to_array(weight)
        if values.dtype == np.float32 and values.ndim == 4:
            weight.CopyFrom(onnx.numpy_helper.from_array(values * 1e6, weight.name))  # above 65504
    full, half = exported.root / "large.onnx", exported.root / "large_half.onnx"
    onnx.save(model, full)
    onnx.save(with_half_weights(model), half)
    moved = moved_by(full, half, exported.check, [exported.check.batch(1, 64, 64)])
    assert not moved.allowed and moved.share > half_weights.MOST_SHARE
    assert build.precision(moved).startswith("float32")
    assert not Moved(float("nan"), 1.0).allowed


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A stand-in for the package, whose files are those that are expected."""
    dist = tmp_path / "package" / "dist"
    dist.mkdir(parents=True)
    hashes = {}
    for name in runtime.HASHES:
        (dist / name).write_bytes(name.encode())
        hashes[name] = hashlib.sha256(name.encode()).hexdigest()
    monkeypatch.setattr(runtime, "HASHES", hashes)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return dist.parent


def test_a_runtime_of_ones_own_is_checked(package):
    for folder in (package, package / "dist", package.parent):
        with runtime.runtime_folder(folder) as found:
            assert found == package / "dist"
    name = next(iter(runtime.HASHES))
    (package / "dist" / name).write_bytes(b"another version")
    words = ["--runtime", name, f"is not that of onnxruntime-web {runtime.VERSION}"]
    refusal(lambda: runtime.runtime_folder(package).__enter__(), *words)
    (package / "dist" / name).unlink()
    refusal(lambda: runtime.runtime_folder(package).__enter__(), "--runtime", f"lacks {name}")


def test_npm_packs_the_runtime_once(package, monkeypatch):
    asked = []

    def npm(line, cwd, **how):
        asked.append(line[1:])
        with tarfile.open(Path(cwd) / "onnxruntime-web.tgz", "w:gz") as archive:
            archive.add(package, "package")
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(runtime.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(subprocess, "run", npm)
    for _ in range(2):
        with runtime.runtime_folder(None) as found:
            assert all((found / name).is_file() for name in runtime.HASHES)
    assert asked == [["pack", f"onnxruntime-web@{runtime.VERSION}"]]


def test_an_interrupted_copy_of_the_runtime_is_made_again(package, monkeypatch):
    monkeypatch.setattr(runtime, "pack", lambda folder: package / "dist")
    with monkeypatch.context() as interrupted:
        stop = iter([None, None, KeyboardInterrupt()])
        write = runtime.atomic_write

        def stopped(path: Path):
            if error := next(stop):
                raise error
            return write(path)

        interrupted.setattr(runtime, "atomic_write", stopped)
        with pytest.raises(KeyboardInterrupt), runtime.runtime_folder(None):
            pass
    with runtime.runtime_folder(None) as found:
        assert all((found / name).read_bytes() == name.encode() for name in runtime.HASHES)


def test_the_package_is_unpacked_where_python_has_no_filters(package, monkeypatch):
    monkeypatch.delattr(tarfile, "data_filter")
    monkeypatch.setattr(runtime.shutil, "which", lambda name: f"/bin/{name}")

    def npm(line, cwd, **how):
        with tarfile.open(Path(cwd) / "onnxruntime-web.tgz", "w:gz") as archive:
            archive.add(package, "package")
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(subprocess, "run", npm)
    extract = tarfile.TarFile.extractall

    monkeypatch.setattr(tarfile.TarFile, "extractall", lambda self, path: extract(self, path))
    with runtime.runtime_folder(None) as found:
        assert all((found / name).is_file() for name in runtime.HASHES)


@pytest.mark.parametrize(
    ("npm", "words"),
    [
        (None, ["--site", "needs npm", "--runtime"]),
        ("/bin/npm", ["--site", "npm pack", "E404 not there", "--runtime"]),
    ],
)
def test_without_the_runtime_it_is_said_how_to_get_it(package, monkeypatch, npm, words):
    failed = SimpleNamespace(returncode=1, stderr="npm error\nnpm error E404 not there\n")
    monkeypatch.setattr(runtime.shutil, "which", lambda name: npm)
    monkeypatch.setattr(subprocess, "run", lambda *args, **how: failed)
    refusal(lambda: runtime.runtime_folder(None).__enter__(), *words)


# The files --------------------------------------------------------------------------------


@pytest.fixture
def written(exported, package, tmp_path, command) -> Callable:
    """Export the site of the run with the stand-in for the runtime."""
    place = ["--name", "run", "--checkpoints_dir", exported.root, "--runtime", package]
    return lambda folder, *flags: command("scripts.export", *place, "--site", folder, *flags)


def test_a_site_holds_all_that_it_asks_for(written, package, tmp_path):
    folder = tmp_path / "new" / "site"
    assert written(folder).status == 0
    about = json.loads((folder / "about.json").read_text())
    assert about["kind"] == "labels" and about["noise"] is False and about["examples"] == 3
    assert about["graph"]["preprocess"] == "resize_and_crop" and about["graph"]["channels"] == 3
    assert {path.name for path in (folder / "examples").iterdir()} == {"0.png", "1.png", "2.png"}
    files = json.loads((folder / "network/files.json").read_text())
    for provider in ("wasm", "webgpu"):
        module, helper, _ = runtime.PROVIDERS[provider]
        assert files["runtime"][provider]["module"] == module
        assert (folder / "runtime" / helper).read_bytes() == helper.encode()
    page = (folder / "index.html").read_text()
    assert "Content-Security-Policy" in page and "https://" not in page
    card = (folder / "card.md").read_text()
    assert "half precision" in card and "| run | run |" in card and runtime.VERSION in card
    largest = max(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert largest <= parts.MOST and not list(tmp_path.rglob("*.part"))


def test_a_site_replaces_files_of_an_earlier_one_and_nothing_else(written, tmp_path):
    folder = tmp_path / "clone"
    mine = [".git/HEAD", "CNAME", "README.md", "examples/9.png", "page/notes.txt", "runtime/a/b"]
    for name in mine:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")
    assert written(folder).status == 0
    listed = json.loads((folder / "files.json").read_text())
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert {*listed} == there - {*mine} and {"index.html", "files.json", "card.md"} < {*listed}
    (folder / "about.json").unlink()
    for name in ("examples/old.png", "old/part"):  # as of an earlier export
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    (folder / "files.json").write_text(json.dumps([*listed, "examples/old.png", "old/part"]))
    assert written(folder).status == 0
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == there
    assert {(folder / name).read_text() for name in mine} == {"mine"}
    assert not (folder / "old").exists() and not list(folder.glob(".site-*"))


@pytest.mark.parametrize(
    "name", ["index.html", "card.md", "examples/0.png", "network", "page/a/.."]
)
def test_a_file_that_no_export_wrote_is_never_overwritten(written, tmp_path, name):
    (tmp_path / "mine" / name).parent.mkdir(parents=True, exist_ok=True)
    file = (tmp_path / "mine" / name).resolve()
    if name.endswith(".."):  # a folder where a file is to be
        file = tmp_path / "mine/page/draw.css"
        file.mkdir(parents=True)
    else:
        file.write_text("years of work")
    done = written(tmp_path / "mine")
    assert done.status == 2 and len(done.err.splitlines()) == 1
    assert f"{file} would be overwritten, and no export wrote it" in done.err
    assert [path for path in (tmp_path / "mine").rglob("*") if path.is_file()] == [file] * (
        not file.is_dir()
    )


def test_a_place_that_is_no_folder_and_a_damaged_list_are_named(written, tmp_path):
    (tmp_path / "file").touch()
    assert "--site" in (said := written(tmp_path / "file").err) and "is a file" in said
    assert "--site: " in (said := written(tmp_path / "file/site").err) and "written" in said
    (tmp_path / "mine").mkdir()
    for text in ("no list", '["../file"]', "3", "[3]"):
        (tmp_path / "mine/files.json").write_text(text)
        done = written(tmp_path / "mine")
        assert done.status == 2 and "files.json is not the list that an export writes" in done.err
        assert (tmp_path / "mine/files.json").read_text() == text


def test_a_site_has_a_title_a_card_and_a_licence(written, tmp_path):
    title = 'Houses <of> "Bern"'
    assert written(tmp_path / "site", "--title", title).status == 0
    page = (tmp_path / "site/index.html").read_text()
    quoted = "Houses &lt;of&gt; &quot;Bern&quot;"
    assert f"<title>{quoted}</title>" in page and f'<h1 id="title">{quoted}</h1>' in page
    assert '<a href="card.md">' in page
    assert json.loads((tmp_path / "site/about.json").read_text())["title"] == title
    card = (tmp_path / "site/card.md").read_text()
    assert card.startswith(f"# {title}\n") and "| statistics | per-image" in card
    assert "Copyright (c) Microsoft" in (tmp_path / "site/runtime/LICENSE.txt").read_text()
    assert written(tmp_path / "site", "--eval").status == 0
    card = (tmp_path / "site/card.md").read_text()
    assert "| statistics | running statistics of the training (--eval) |" in card
    assert card.startswith("# run\n") and "--title: " in written(tmp_path / "x", "--title", " ").err


def test_data_that_are_not_there_are_said(written, exported, tmp_path, caplog):
    away = (exported.root / "labels").rename(exported.root / "away")
    try:
        done = written(tmp_path / "site", "--dataroot", tmp_path / "nowhere")
        assert done.status == 2 and f"--dataroot {tmp_path / 'nowhere'}: no such" in done.err
        assert not (tmp_path / "site").exists()
        assert written(tmp_path / "site").status == 0
        warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert len(warnings) == 1 and "the page lacks examples, and label colours" in warnings[0]
    finally:
        away.rename(exported.root / "labels")


def test_another_direction_than_that_of_the_training_is_warned_of_once(written, tmp_path, caplog):
    assert written(tmp_path / "site", "--direction", "BtoA").status == 0
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1 and "--direction BtoA: the run was trained AtoB" in warnings[0]
    assert len([line for line in caplog.messages if "network G: loaded" in line]) == 1


@pytest.mark.parametrize(
    "flags", [["--output", "x.onnx"], ["--size", "64"], ["--processing"], ["--dropout"]]
)
def test_what_a_site_sets_itself_is_refused(written, tmp_path, flags):
    done = written(tmp_path / "site", *flags)
    assert done.status == 2 and f"{flags[0]}: is not for --site" in done.err
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("flag", ["--runtime", "--title"])
def test_a_runtime_or_a_title_without_a_site_is_refused(command, package, flag):
    done = command("scripts.export", "--name", "run", flag, package)
    assert done.status == 2 and f"{flag} {package}: needs --site" in done.err


def test_a_run_that_a_page_cannot_show_is_refused(command, package, tmp_path):
    run = untrained(tmp_path, draw_labels(tmp_path / "labels"), "--input_nc", "4")
    place = ["--name", run.name, "--checkpoints_dir", tmp_path, "--runtime", package]
    done = command("scripts.export", *place, "--site", tmp_path / "site")
    assert done.status == 2 and "--site: needs images of 1 or 3 channels" in done.err
    assert not (tmp_path / "site").exists()


# In a browser -----------------------------------------------------------------------------


def shown(page: Page, expected: np.ndarray) -> float:
    """Return the most grey levels by which the output differs from the expected one."""
    found, size = page.pixels()[..., :3], expected.shape[:2]
    expected = np.broadcast_to(expected.reshape(*size, -1), (*size, 3))  # grey is shown as RGB
    return float(np.abs(found - expected.astype(int)).max())


def still(run: Path, **options: object) -> Translator:
    return Translator.load(run, gpu_ids=-1, dropout_at_test="off", **options)


@pytest.fixture
def site(show, tmp_path) -> Iterator[Callable[..., Page]]:
    """Open the site of a run, whose server is the only one that answers."""
    servers = []

    def open_site(run: Path, *flags: str, **how: object) -> Page:
        servers.append(hosted(site_of(run, *flags)))
        return show(servers[-1].__enter__(), **how)

    yield open_site
    for server in servers:
        server.__exit__(None, None, None)


@pytest.mark.slow
def test_a_drawing_is_translated_as_in_python(site, tmp_path):
    run = untrained(tmp_path, draw_labels(tmp_path / "labels"))
    page = site(run)
    assert page.page.get_attribute("body", "data-network") == "wasm"
    assert "nothing leaves this device" in page.page.inner_text("#hint")
    assert page.page.is_hidden("#noise") and page.page.locator("progress").count() == 0
    t = still(run)
    assert shown(page, t(page.input())) <= 2
    page.press("Clear")
    page.press("Rectangle")
    page.page.locator("#palette button").nth(2).click()
    page.drag((10, 10), (30, 40))
    drawing = page.input()
    assert len(np.unique(drawing.reshape(-1, 3), axis=0)) == 2
    assert shown(page, t(drawing)) <= 2
    name, _ = page.download("Download")
    assert name == "run_output.png"
    page.page.keyboard.press("Control+z")
    page.wait()
    assert shown(page, t(page.input())) <= 2


@pytest.mark.slow
def test_a_photo_is_fitted_as_test_py_fits_it(site, tmp_path):
    run = untrained(tmp_path, draw_pairs(tmp_path / "photos"), "--direction", "AtoB")
    page, photo = site(run), draw((100, 80))
    page.upload("photo.png", png(photo))
    page.until(lambda: page.page.is_enabled("#download"))
    fitted = still(run).prepare(photo)
    wanted = ((fitted.permute(1, 2, 0).numpy() + 1) * 127.5).round()
    page.until(lambda: np.abs(page.input() - wanted).mean() < 4)  # another filter than PIL's
    assert shown(page, still(run)(page.input())) <= 2
    page.upload("text.png", b"no image")
    assert "no image" in page.message()


@pytest.mark.slow
def test_what_is_transparent_shows_the_paper_and_not_the_image_before(site, tmp_path):
    page = site(untrained(tmp_path, draw_pairs(tmp_path / "photos"), "--direction", "AtoB"))
    size = page.input().shape[1::-1]
    image = Image.new("RGBA", size, (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, size[0], size[1] // 2))
    page.upload("half.png", png(image))
    page.until(lambda: (page.input()[5, 5] == (255, 0, 0)).all())
    assert (page.input()[-5:] == page.input()[-1, -1]).all()  # one colour


@pytest.mark.slow
def test_lines_are_drawn_for_a_network_of_one_channel(site, tmp_path):
    flags = ["--input_nc", "1", "--output_nc", "1"]
    run = untrained(tmp_path, draw_lines(tmp_path / "lines"), *flags)
    page = site(run)
    assert page.page.is_hidden("#palette")
    page.drag((5, 50), (60, 52))
    assert shown(page, still(run)(page.input())) <= 2


@pytest.mark.slow
def test_a_grey_photo_is_coloured(site, tmp_path):
    flags = ["--model", "colorization"]
    run = untrained(tmp_path, draw_photos(tmp_path / "photos"), *flags)
    page = site(run)
    assert shown(page, still(run)(page.input())) <= 2


@pytest.mark.slow
def test_classes_are_drawn_by_their_colours(site, tmp_path):
    data = draw_label_folders(tmp_path / "data", classes=4, size=64)
    run = untrained(tmp_path, data, *SPADE)
    page = site(run)
    page.press("Rectangle")
    page.page.locator("#palette button").nth(3).click()
    page.drag((8, 8), (40, 40))
    colours = np.array(json.loads((tmp_path / "site/about.json").read_text())["graph"]["colours"])
    far = np.abs(page.input()[:, :, None] - colours).sum(-1)
    assert far.min(-1).max() == 0
    assert shown(page, still(run)(far.argmin(-1))) <= 2


@pytest.mark.slow
def test_label_maps_of_class_numbers_are_opened(site, tmp_path):
    data = draw_label_folders(tmp_path / "data", classes=4, size=64)
    page = site(untrained(tmp_path, data, *SPADE))
    colours = json.loads((tmp_path / "site/about.json").read_text())["graph"]["colours"]
    numbers = np.kron(np.arange(4).reshape(2, 2), np.ones((32, 32))).astype(np.uint8)
    wanted = np.array(colours)[numbers]
    palette = Image.fromarray(numbers).convert("P")
    palette.putpalette([9, 8, 7, 200, 0, 0, 0, 200, 0, 0, 0, 200])
    files = {"grey.png": Image.fromarray(numbers), "palette.png": palette}
    for name, image in files.items():
        page.press("Clear")
        page.upload(name, png(image))
        page.until(lambda: np.array_equal(page.input(), wanted))
    page.upload("other.png", png(Image.fromarray(numbers + 3)))
    assert "class number 4; the classes here are 0 to 3" in page.message()
    page.upload("photo.png", png(Image.new("RGB", (64, 64), (240, 90, 200))))
    page.until(lambda: "is it a photo?" in page.message())
    assert np.array_equal(page.input(), wanted)


@pytest.mark.slow
def test_holes_are_filled_with_lines_in_them(site, tmp_path):
    strong = ["--init_type", "normal", "--init_gain", "0.4"]
    run = saved_run(draw_photos(tmp_path / "photos"), "--guided", "--hole_noise", "1", *strong)
    page = site(run)
    image = page.input()
    page.page.fill("#size", "8")
    page.drag((10, 12), (24, 12))
    page.page.locator("#palette button").nth(1).click()
    page.page.fill("#size", "1")
    page.drag((12, 12), (20, 12))
    page.until(lambda: page.page.is_enabled("#download"))
    marked = page.input()
    hole = (marked != image).any(-1)
    line = (marked == (0, 224, 255)).all(-1)
    assert hole.sum() > line.sum() > 0
    t = still(run, hole_noise=0, preprocess="none")
    wanted = t(image, mask=hole, sketch=line)
    assert shown(page, wanted) <= 2
    assert np.array_equal(page.pixels()[~hole][:, :3], image[~hole])


@pytest.mark.slow
def test_a_damaged_or_missing_part_is_said(browser, tmp_path):
    folder = site_of(untrained(tmp_path, draw_labels(tmp_path / "labels")))
    file = folder / "network/weights.0"
    content = bytearray(file.read_bytes())
    content[1000] ^= 1
    file.write_bytes(content)
    for damage, said in ((lambda: None, "is damaged"), (file.unlink, "is missing on this site")):
        damage()
        with hosted(folder) as address:
            page = browser.new_page()
            page.goto(address)
            page.wait_for_selector("#message:not([hidden])")
            assert f"network/weights.0 {said}" in page.inner_text("#message span")
            page.close()


@pytest.mark.slow
def test_an_example_that_cannot_be_loaded_is_named_and_the_drawing_stays(site, tmp_path):
    page = site(untrained(tmp_path, draw_labels(tmp_path / "labels")), "--title", "My houses")
    assert page.page.title() == page.page.inner_text("h1") == "My houses"
    before = page.input()
    page.page.route("**/examples/**", lambda route: route.abort())
    page.press("Next example")
    assert page.message() == "examples/1.png cannot be loaded. Is this device online?"
    assert page.page.input_value("#example") == "1" and np.array_equal(page.input(), before)
    page.page.unroute("**/examples/**")
    page.press("Next example")
    page.page.wait_for_selector("#message", state="hidden")
    page.until(lambda: not np.array_equal(page.input(), before))
    assert page.page.input_value("#example") == "2"
    (tmp_path / "site/examples/2.png").unlink()
    page.press("Next example")
    assert page.message() == "examples/2.png is missing on this site."


@pytest.mark.slow
def test_a_site_without_its_facts_says_so(browser, tmp_path):
    folder = site_of(untrained(tmp_path, draw_labels(tmp_path / "labels")))
    file = folder / "about.json"
    damages = (lambda: file.write_text("{"), "damaged"), (file.unlink, "missing on this site")
    for damage, said in damages:
        damage()
        with hosted(folder) as address:
            page = browser.new_page()
            page.goto(address)
            page.locator("#hint", has_text=f"about.json is {said}.").wait_for()
            page.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", [{"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}}]
)
def test_the_site_fits_dark_and_small_screens(site, tmp_path, how):
    page = site(untrained(tmp_path, draw_labels(tmp_path / "labels")), **how)
    width = page.page.evaluate("document.documentElement.scrollWidth")
    assert width <= page.page.viewport_size["width"]
    text = page.page.evaluate("getComputedStyle(document.body).color")
    bright = int(re.search(r"\d+", text)[0]) > 127
    assert bright == ("color_scheme" in how), text
