"""What docs/ points to is there, and its commands run."""

import re
import runpy
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import draw, draw_pairs, small
from PIL import Image
from support.documents import PAGES, ROOT, blocks, lines
from support.films import Found, write_film
from support.holes import draw_photos, save_mask, saved_run
from support.label_folders import coloured, draw_coloured
from support.measured_files import write_nifti, write_raster

from models.spade_networks import SPADEGenerator
from options.config_files import PRESETS
from scripts.evaluation.network_metrics import INCEPTION

FOLDERS = "models|data|options|util|scripts|tests|datasets|docs"


def anchors(page: str) -> set[str]:
    """What links can name of a page: its headings as GitHub spells them in addresses."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", page, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, "../README.md"])
def test_links_between_documents_lead_somewhere(page: str) -> None:
    file = (ROOT / "docs" / page).resolve()
    text = file.read_text("utf-8")
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", text):
        to = (file.parent / target).resolve() if target else file
        assert to.exists(), target
        assert not anchor or anchor in anchors(to.read_text("utf-8")), (target, anchor)


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page: str) -> None:
    for path in re.findall(rf"`((?:{FOLDERS})/[\w/.]*)[:`]", PAGES[page]):
        made_up = any(word in path for word in ("foo_", "edge_", "table_", "sharp_", "NAME_"))
        assert made_up or (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES)
def test_names_in_files_exist(page: str) -> None:
    for path, name in re.findall(r"`([\w/]+\.py): (\w+)`", PAGES[page]):
        source = (ROOT / path).read_text("utf-8")
        assert re.search(rf"^ *(def|class) {name}\b|^{name}\b.* = ", source, re.MULTILINE), name


def test_every_preset_of_the_tables_is_on_the_page_of_the_paper() -> None:
    names = {p.name for p in PRESETS.glob("*.yaml") if not p.name.startswith("builtin")}
    family = {name for name in names if name.startswith(("spade_", "pix2pixHD_"))}
    rows = {page: set(re.findall(r"presets/(\w+\.yaml)` \|", PAGES[page])) for page in PAGES}
    tables = names - family - {"recipe.yaml"}
    assert rows["paper.md"] == tables and len(tables) == 13
    assert rows["labels.md"] == rows["labels.zh-CN.md"] == family and len(family) == 7
    assert all(
        "presets/recipe.yaml" in PAGES[page] for page in ("training.md", "training.zh-CN.md")
    )


def run_lines(command: Callable[..., SimpleNamespace], page: list[str]) -> None:
    for line in page:
        name, flags = small(line)
        result = command(name, *flags)
        assert result.status == 0, f"{line}\n{result.err}"


@pytest.fixture
def facades(command: Callable[..., SimpleNamespace]) -> None:
    """The data that the pages speak of, in the current folder."""
    draw_pairs(Path("datasets/facades"), count=1, size=(280, 270))
    for folder in ("sketches", "photos/train", "photos/test"):
        Path("datasets", folder).mkdir(parents=True)
        draw((70, 50)).save(f"datasets/{folder}/a.png")
    Path("options").symlink_to(ROOT / "options")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "count"),
    [("paper.md", 2), ("tips.md", 8), ("reliability.md", 1), ("training.md", 29)],
)
def test_the_commands_of_a_page_run(command, facades, page: str, count: int) -> None:
    assert len(lines(PAGES[page])) == count
    run_lines(command, lines(PAGES[page]))


def test_the_commands_of_the_page_of_the_data_run(command: Callable[..., SimpleNamespace]) -> None:
    Path("images").mkdir()
    for i in range(4):
        draw((80, 72), seed=i).save(f"images/{i}.png")
    for side in ("trainA", "trainB", "testA", "testB"):
        Path(f"datasets/scans/{side}").mkdir(parents=True)
        np.save(f"datasets/scans/{side}/0.npy", np.arange(72 * 80.0).reshape(72, 80))
    assert len(lines(PAGES["datasets.md"])) == 8
    run_lines(command, lines(PAGES["datasets.md"]))


@pytest.mark.slow
def test_the_page_of_label_maps_runs(command: Callable[..., SimpleNamespace]) -> None:
    page = PAGES["labels.md"]
    draw_coloured(Path("datasets/facades"))
    Path("labels").mkdir()
    for path in ("labels/0.png", "labels.png"):
        Image.fromarray(coloured(0)).save(path)
    assert len(lines(page)) == 11
    run_lines(command, lines(page))
    for name, size in (("small_half", 128), ("small_full", 256)):
        made = Image.open(f"results/{name}/test_latest/images/0_fake_B.png")
        assert made.size == (size, size)
    assert Path("results_labels/facades_spade/test_latest/images/0_fake_B.png").exists()
    assert Path("photos/0.png").exists() and list(Path("checkpoints/facades_spade").glob("*.onnx"))
    code, published = blocks(page, "python")
    found = {}
    exec(code, found)
    assert Image.open("photo.png").size == (64, 64)
    assert found["photo"].shape == (64, 64, 3) and found["photos"].shape == (1, 3, 256, 256)
    Path("checkpoints/coco_pretrained").mkdir()
    weights = SPADEGenerator(184, ngf=4).state_dict()
    torch.save(weights, "checkpoints/coco_pretrained/latest_net_G.pth")
    exec(published, found)
    assert Image.open("cows.png").size == (256, 256)


@pytest.mark.slow
def test_the_answers_run(command: Callable[..., SimpleNamespace], facades) -> None:
    page = PAGES["qa.md"]
    assert [int(n) for n in re.findall(r"^## (\d+)\. ", page, re.MULTILINE)] == [*range(1, 36)]
    trained = "python train.py --dataroot ./datasets/facades --name facades"
    run_lines(command, [f"{trained} --direction BtoA", f"{trained}_cyclegan --model cycle_gan"])
    translating, one_hot, *cells = blocks(page, "python")
    for phase in ("train", "test"):
        Path("labels", phase).mkdir(parents=True)
        Path("datasets/onehot", f"{phase}B").mkdir(parents=True)
        numbers = np.arange(70 * 80, dtype=np.uint8).reshape(70, 80) % 12
        Image.fromarray(numbers).save(f"labels/{phase}/1.png")
        draw((80, 70)).save(f"datasets/onehot/{phase}B/1.jpg")
    exec(one_hot, {})
    assert np.load("datasets/onehot/trainA/1.npy").sum(axis=2).tolist() == [[1] * 80] * 70
    run_lines(command, lines(page))
    draw((70, 50)).save("sketch.png")
    exec(translating, {})
    assert Image.open("photo.png").size == (64, 64)
    run_cells(command, page, cells)


def run_cells(command: Callable[..., SimpleNamespace], page: str, cells: list[str]) -> None:
    """Run the cells of a notebook: the commands behind `!python`, then the code."""
    found = re.findall(r"^!(python .+)$", page, re.MULTILINE)
    here = [line.replace("/content/drive/MyDrive", "drive") for line in found]
    assert len(here) == 5 and len(cells) == 2
    run_lines(command, here)
    assert Path("drive/checkpoints/facades/latest_net_G.pth").exists()
    for cell in cells:
        exec(cell.replace("/1_", "/0_"), {})


@pytest.mark.slow
def test_the_commands_of_the_page_of_the_metrics_run(
    command, facades, in_this_process, feature_net
) -> None:
    for name in ("facades", "facades_bf16"):
        line = f"python train.py --dataroot ./datasets/facades --direction BtoA --name {name}"
        run_lines(command, [line, f"python test.py --name {name}"])
    for folder, kind in (("outputs", "fake_B"), ("targets", "real_B")):
        Path(folder).mkdir()
        Path(folder, "0.png").symlink_to(
            Path(f"results/facades/test_latest/images/0_{kind}.png").resolve()
        )
    *simple, fcn, distances, sweep = lines(PAGES["metrics.md"])
    assert len(simple) == 4
    run_lines(command, simple)
    ((file, plan),) = re.findall(
        r"<!-- file: (\S+) -->\n```yaml\n(.*?)```", PAGES["metrics.md"], re.S
    )
    Path(file).write_text(plan)
    run_lines(command, [sweep])
    assert len(list(Path("checkpoints/lambda").glob("*/latest_net_G.pth"))) == 4
    assert Path("results/lambda/index.html").exists()
    name, flags = small(distances)
    result = command(name, *flags)
    assert result.status == 2 and "needs at least 4 outputs, not 1" in result.err
    name, flags = small(fcn)
    result = command(name, *flags)  # these images are painted with more than a few colours
    assert result.status == 2 and "--metrics FCN: needs label maps" in result.err


def test_the_page_on_using_a_model_runs(command, facades, served) -> None:
    page = PAGES["using.md"]
    trained = "python train.py --dataroot ./datasets/facades --name facades --direction BtoA"
    draw((70, 50)).save("sketch.png")
    write_film(Path("walk.mp4"))
    run_lines(command, [trained, *lines(page)])
    assert len(lines(page)) == 7 and len(served) == 1
    assert Found(Path("again.webm")).size == (96, 64)
    assert page.count("http://127.0.0.1:8000/") == 6  # the tests of the servers ask the same
    assert Image.open("photo_whole.png").size == (70, 50) and any(Path("photos").iterdir())
    for code in blocks(page, "python"):
        exec(code, {})
    assert Image.open("photo.png").size == (64, 64)


@pytest.mark.slow
def test_the_first_hour_goes_by_as_it_is_written(
    command: Callable[..., SimpleNamespace], few_builtin: None, capfd, monkeypatch
) -> None:
    page = PAGES["first_hour.md"]
    for name, code in re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)```", page, re.DOTALL):
        Path(name).write_text(code)
    todo = [line.removeprefix("uv run ") for line in lines(page) if line.startswith("uv run ")]
    assert [line.split()[0] for line in todo] == [
        *("train.py", "test.py", "train.py", "train.py", "test.py", "test.py"),
        *("compare.py", "step.py"),
    ]
    for line in todo:
        name, *flags = shlex.split(line)
        if Path(name).exists():
            monkeypatch.setattr("sys.argv", [name, *flags])
            runpy.run_path(name)
        else:
            result = command(name.removesuffix(".py"), *flags)
            assert result.status == 0, f"{line}\n{result.err}"
    by_hand = re.findall(r"by hand (\S+), by the model (\S+)", capfd.readouterr().out)
    assert len(by_hand) == 2 and all(ours == theirs for ours, theirs in by_hand)
    (more,) = re.findall(r"<!-- more -->\n```python\n(.*?)```", page, re.DOTALL)
    Path("step.py").write_text(Path("step.py").read_text() + more)
    for flags in (["--seed", "7"], ["--name", "cGAN", "--pixel_loss", "none"]):
        capfd.readouterr()
        monkeypatch.setattr("sys.argv", ["step.py", *flags])
        runpy.run_path("step.py")
    assert Image.open("compare.png").size == (5 * 128, 2 * 128)
    assert Image.open("patches.png").size == (9 * 64, 6 * 64)


def test_the_first_hour_shows_the_method_that_is_there() -> None:
    shown = re.search(r"<!-- method -->\n```python\n(.*?)```", PAGES["first_hour.md"], re.DOTALL)
    source = (ROOT / "models" / "pix2pix_model.py").read_text("utf-8")
    for line in shown[1].splitlines():
        assert line.partition("  #")[0].strip() in source, line


def test_the_weights_that_are_brought_by_hand_have_the_names_that_are_looked_for() -> None:
    from torchvision.models import AlexNet_Weights, VGG19_Weights

    urls = (INCEPTION, AlexNet_Weights.DEFAULT.url, VGG19_Weights.IMAGENET1K_V1.url)
    assert all(f"`{url.rpartition('/')[2]}`" in PAGES["install.md"] for url in urls)


@pytest.mark.parametrize("page", PAGES)
def test_images_are_there(page: str) -> None:
    for target in re.findall(r"!\[[^]]*\]\(([^)]+)\)", PAGES[page]):
        assert Image.open(ROOT / "docs" / target).size[0] > 100, target


def test_the_page_of_filled_holes_runs(command: Callable[..., SimpleNamespace]) -> None:
    page = PAGES["inpainting.md"]
    draw_photos(Path("datasets/photos"), count=2)
    for name in ("photo.png", "photos/0.png", "photos/1.png"):
        Path(name).parent.mkdir(exist_ok=True)
        draw((48, 40)).save(name)
    hole = [save_mask(Path(name)) for name in ("mask.png", "masks/0.png", "masks/1.png")][0]
    save_mask(Path("sketch.png"), box=(10, 12, 18, 14))
    training, testing, drawing, *others = lines(page)
    assert "scripts.draw" in drawing and len(others) == 6  # a page is tried in a browser
    run_lines(command, [f"{training} --batch_size 2", testing])
    saved_run(Path("checkpoints"), "--guided").rename("checkpoints/photos_guided")
    sheet, translating = blocks(page, "python")
    exec(translating, {})
    assert Image.open("filled.png").size == (48, 40)
    exec(sheet, {})  # test_draw_holes.py sends it
    stacked = np.asarray(Image.open("photo_and_mask.png"))
    assert np.array_equal(stacked[40:, :, 0] > 0, hole)
    for line in others:
        run_lines(command, [line])
    assert Image.open("photo_filled.png").size == (48, 40) and Path("photo_guided.png").exists()
    assert len(list(Path("filled").iterdir())) == 2
    assert list(Path("checkpoints/photos_filled").glob("*.onnx"))


def test_the_page_of_measurements_runs(command: Callable[..., SimpleNamespace]) -> None:
    page = PAGES["measurements.md"]
    volume = np.arange(40 * 40 * 3, dtype=np.int16).reshape(40, 40, 3)
    for phase, name in (("train", "anna"), ("train", "ben"), ("test", "carl")):
        write_nifti(Path(f"datasets/mr_to_ct/{phase}A/{name}.nii.gz"), volume)
        write_nifti(Path(f"datasets/mr_to_ct/{phase}B/{name}.nii.gz"), volume - 1000)
        raster = volume[None, ..., 0].astype(np.float32)
        for side in "AB":
            write_raster(Path(f"datasets/elevation/{phase}{side}/{name}.tif"), raster)
    run_lines(command, lines(page))
    assert len(lines(page)) == 8
    assert not Path("results/evaluation").exists()  # the outputs of test.py were measured
    assert Path("results/mr_to_ct/test_latest/values/carl_fake_B.nii.gz").exists()
    assert Path("ct/carl.nii.gz").exists()
    assert Path("results/elevation/test_latest/values/carl_fake_B.tif").exists()
    shutil.copy("datasets/mr_to_ct/testA/carl.nii.gz", "carl.nii.gz")
    (inference,) = blocks(page, "python")
    exec(inference, {})
    assert Path("carl_ct.nii.gz").read_bytes() == Path("ct/carl.nii.gz").read_bytes()
