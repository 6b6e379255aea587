"""scripts/evaluate.py: folders and runs, its files, its page, what it refuses."""

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, draw, draw_pairs
from PIL import Image

from scripts.evaluation.compare import ImageSet, Result, heat_map
from scripts.evaluation.flags import parse
from scripts.evaluation.outputs import how_made
from scripts.evaluation.page import clearly_best, write_page
from scripts.evaluation.report import fcn_note, table
from util.metrics import bootstrap, compare


@pytest.fixture
def evaluate(command, caplog):
    """Run the script; return its status and lines, the error last."""

    def run(*flags: Any) -> tuple[int, list[str]]:
        caplog.clear()
        result = command("scripts.evaluate", *flags)
        return result.status, [*caplog.messages, result.err.strip()]

    return run


def test_a_file_of_flags_counts_where_the_command_line_says_nothing(tmp_path):
    file = tmp_path / "test.yaml"
    file.write_text(
        "name: a\nepoch: 5\nphase: val\ngpu_ids: -1\nuse_ema: true\nno_html: false\n"
        "checkpoints_dir: runs\nresults_dir: out\nload_size: 64\n"
    )
    args = parse(["--config", str(file)])
    assert (args.name, args.epoch, args.phase, args.gpu_ids) == (["a"], "5", "val", [])
    assert args.use_ema and not args.no_html
    assert (args.checkpoints_dir, args.results_dir) == (Path("runs"), Path("out"))
    args = parse(["--name", "b", "--epoch", "best", "--config", str(file)])
    assert (args.name, args.epoch, args.phase) == (["b"], "best", "val")


def test_outputs_in_this_folder_are_named_by_it(folders, evaluate, tmp_path, monkeypatch):
    fake, real = folders
    monkeypatch.chdir(fake)
    for _ in range(2):
        status, lines = evaluate("--fake", ".", "--real", real)
        assert status == 0, lines
    (run,) = json.loads((tmp_path / "fake_evaluation/metrics.json").read_text())["runs"]
    assert run["name"] == "fake"


def test_images_that_browsers_do_not_show_are_copied_for_the_page(folders, evaluate, tmp_path):
    fake, real = folders
    for path in [*real.rglob("*.png")]:
        Image.open(path).save(path.with_suffix(".tif"))
        path.unlink()
    status, lines = evaluate("--fake", fake, "--real", real, "--out", tmp_path / "o")
    assert status == 0, lines
    page = (tmp_path / "o/index.html").read_text()
    shown = sorted((tmp_path / "o/shown").glob("*.png"))
    assert len(shown) == 3 and ".tif" not in page
    assert all(f"shown/{path.name}" in page for path in shown)


@pytest.mark.parametrize(("preprocess", "width"), [("scale_width", 1024), ("resize_and_crop", 512)])
def test_the_protocol_says_how_wide_the_images_are(preprocess, width):
    opt = {"num_test": float("inf"), "dataset_mode": "aligned", "use_ema": False}
    opt |= {"dataroot": "d", "phase": "test", "direction": "AtoB", "epoch": "latest"}
    sizes = {"preprocess": preprocess, "load_size": 1024, "crop_size": 512}
    assert f"{preprocess}, {width} pixels wide" in how_made(opt | sizes, [])


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return outputs and targets: three noisy copies, the third nearest."""
    fake, real = tmp_path / "fake", tmp_path / "real"
    generator = np.random.default_rng(0)
    for folder in (fake, real):
        (folder / "sub").mkdir(parents=True)
    for i, name in enumerate(["a", "b", "sub/c"]):
        target = np.asarray(draw((40, 30), seed=i)).astype(float)
        Image.fromarray(target.astype(np.uint8)).save(real / f"{name}.png")
        noisy = target + generator.normal(0, 60 - 20 * i, target.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(fake / f"{name}.bmp")
    return fake, real


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_two_folders_are_paired_by_name_and_measured(folders, evaluate, tmp_path):
    fake, real = folders
    status, lines = evaluate("--fake", fake, "--real", real, "--out", tmp_path / "o")
    assert status == 0, lines
    found = rows(tmp_path / "o")
    assert [row["picture"] for row in found] == ["a", "b", "sub/c"]
    for row in found:
        pair = [
            torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None]
            for path in (fake / f"{row['picture']}.bmp", real / f"{row['picture']}.png")
        ]
        wanted = {name: value.item() for name, value in compare(*pair).items()}
        assert list(wanted) == ["L1", "PSNR", "SSIM"]
        assert {name: float(row[name]) for name in wanted} == pytest.approx(wanted)
    numbers = json.loads((tmp_path / "o" / "metrics.json").read_text())
    (run,) = numbers["runs"]
    for metric in ("L1", "PSNR", "SSIM"):
        values = [float(row[metric]) for row in found]
        assert run["metrics"][metric] == pytest.approx(bootstrap(values)._asdict())
        assert f"{np.mean(values):.4f}" in "\n".join(lines)
        assert any(note.startswith(f"{metric}: ") for note in numbers["protocol"])
    assert run["pictures"] == 3 and "N = 3 images" in numbers["protocol"][0]


def test_an_evaluation_of_other_metrics_is_replaced_with_a_word(folders, evaluate, tmp_path):
    fake, real = folders
    for metrics, said in (
        ("L1,PSNR", []),
        ("PSNR,L1", []),
        ("SSIM", ["replaces the earlier evaluation of fake (L1, PSNR) in out"]),
        ("SSIM", []),
    ):
        status, lines = evaluate(
            "--fake", fake, "--real", real, "--out", "out", "--metrics", metrics
        )
        assert status == 0 and [line for line in lines if "earlier" in line] == said
    Path("out/metrics.json").write_text("[]")
    assert evaluate("--fake", fake, "--real", real, "--out", "out")[0] == 0


def test_the_page_has_every_image_its_error_and_the_numbers_to_sort_by(folders, evaluate, tmp_path):
    fake, real = folders
    assert evaluate("--fake", fake, "--real", real)[0] == 0
    out = tmp_path / "fake_evaluation"
    page = (out / "index.html").read_text()
    files = re.findall(r'src="([^"]+)"', page)
    assert len(files) == 9 and all((out / name).is_file() for name in files)
    values = [
        json.loads(text.replace("&quot;", '"'))
        for text in re.findall(r'data-values="([^"]+)"', page)
    ]
    assert [each[0]["L1"] for each in values] == [float(row["L1"]) for row in rows(out)]
    black = np.asarray(Image.open(out / "heat/0/00002.png")).mean()
    bright = np.asarray(Image.open(out / "heat/0/00000.png")).mean()
    assert bright > 1.5 * black  # the first is farthest from its target


def test_a_heat_map_is_black_where_nothing_differs_and_pale_from_half_the_range(tmp_path):
    fake, real = np.zeros((2, 4, 4, 3), np.uint8)
    fake[:2] = 128
    fake[2] = 64
    for name, array in (("f", fake), ("r", real)):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    heat_map(tmp_path / "f.png", tmp_path / "r.png", tmp_path / "h.png")
    found = np.asarray(Image.open(tmp_path / "h.png"))[:, 0].tolist()
    assert found[0] == found[1] == [252, 254, 164] and found[3] == [0, 0, 3]
    assert sum(found[0]) > sum(found[2]) > sum(found[3])


@pytest.fixture
def runs(command) -> Path:
    """Train and test two runs on four pairs."""
    draw_pairs(Path("data"), count=4)
    flags = [*TINY, "--dataroot", "data", "--no_html", "--ema", "0.5"]
    for name, lr in (("one", "0.001"), ("two", "0")):
        assert command("train", *flags, "--name", name, "--lr", lr).status == 0
        for more in ([], ["--use_ema"]):
            assert command("test", "--name", name, "--gpu_ids", "-1", *more).status == 0
    return Path("results")


CPU = ["--gpu_ids", "-1", "--num_threads", "1"]


def test_a_run_is_translated_where_that_is_to_do(runs, evaluate, in_this_process):
    status, lines = evaluate("--name", "one", *CPU)
    assert status == 0 and not any("translating" in line for line in lines)
    images = runs / "one/test_latest/images"
    found = rows(runs / "one/test_latest_evaluation")
    assert [row["picture"] for row in found] == ["0", "1", "2", "3"]
    for path in images.iterdir():
        path.unlink()
    status, lines = evaluate("--name", "one", *CPU)
    assert status == 0 and any("translating" in line for line in lines)
    assert len(list(images.iterdir())) == 12
    assert rows(runs / "one/test_latest_evaluation") == found
    assert evaluate("--name", "one", "--use_ema", *CPU)[0] == 0
    assert rows(runs / "one/test_latest_ema_evaluation") != found


@pytest.mark.slow
def test_results_of_other_weights_of_a_run_are_not_measured(
    runs, evaluate, command, in_this_process
):
    shutil.copy("checkpoints/two/latest_net_G.pth", "checkpoints/one/iter_5_net_G.pth")
    plain = rows_of(evaluate, "--name", "one")
    assert evaluate("--name", "one", *CPU, "--load_iter", "5")[0] == 0
    assert (runs / "one/test_iter_5/index.html").exists()
    assert rows(runs / "one/test_latest_load_iter_5_evaluation") != plain


def shard(command, number: int, *flags: Any) -> None:
    ids = ["--num_shards", 2, "--shard_id", number]
    assert command("test", "--name", "one", "--gpu_ids", "-1", *ids, *flags).status == 0


def test_results_of_shards_are_not_translated_again(runs, evaluate, command):
    plain = rows_of(evaluate, "--name", "one")
    shutil.rmtree(runs)
    for number in (0, 1):
        shard(command, number)
    assert command("test", "--name", "one", "--gpu_ids", "-1", "--page_only").status == 0
    images = {path: path.stat().st_mtime_ns for path in (runs / "one").rglob("*.png")}
    status, lines = evaluate("--name", "one", *CPU)
    assert status == 0 and not any("translating" in line for line in lines)
    assert rows(runs / "one/test_latest_evaluation") == plain and len(plain) == 4
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in images.items())


@pytest.mark.slow
def test_results_of_some_shards_are_not_taken_for_all(runs, evaluate, command, in_this_process):
    plain = rows_of(evaluate, "--name", "one")
    shutil.rmtree(runs)
    shard(command, 0)
    shard(command, 1, "--num_test", "2")
    shard(command, 0)  # the options of the last command are those that are wanted
    assert command("test", "--name", "one", "--gpu_ids", "-1", "--page_only").status == 0
    status, lines = evaluate("--name", "one", *CPU)
    assert status == 0 and any("translating" in line for line in lines)
    assert rows(runs / "one/test_latest_evaluation") == plain
    assert len(list((runs / "one/test_latest/images").iterdir())) == 12


@pytest.mark.slow
def test_results_of_shards_with_earlier_weights_are_translated_again(
    runs, evaluate, command, in_this_process
):
    shutil.rmtree(runs)
    for number in (0, 1):
        shard(command, number)
    shutil.copy("checkpoints/two/latest_net_G.pth", "checkpoints/one/latest_net_G.pth")
    assert command("test", "--name", "one", "--gpu_ids", "-1", "--page_only").status == 0
    status, lines = evaluate("--name", "one", *CPU)
    assert status == 0 and any("translating" in line for line in lines)


def test_several_runs_are_compared_image_by_image(runs, evaluate):
    status, lines = evaluate("--name", "one", "two", *CPU)
    assert status == 0, lines
    out = runs / "one_two/test_latest_evaluation"
    found = rows(out)
    values = {
        name: [float(row["L1"]) for row in found if row["run"] == name] for name in ("one", "two")
    }
    numbers = json.loads((out / "metrics.json").read_text())["runs"]
    more = bootstrap([b - a for a, b in zip(values["one"], values["two"], strict=True)])
    assert numbers[0]["difference_to_first"] == {}
    assert numbers[1]["difference_to_first"]["L1"] == pytest.approx(more._asdict())
    assert (out / "index.html").read_text().count("<section") == 4


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["--num_test", "2"], ["--eval"], ["--dataroot", "other"]])
def test_results_of_other_flags_are_neither_measured_nor_touched(
    runs, evaluate, command, in_this_process, flags
):
    draw_pairs(Path("other"), count=3)
    plain = rows_of(evaluate, "--name", "one")
    assert command("test", "--name", "one", "--gpu_ids", "-1", *flags).status == 0
    page = (runs / "one/test_latest/index.html").read_text()
    assert rows_of(evaluate, "--name", "one") == plain
    assert (runs / "one/test_latest/index.html").read_text() == page
    assert (runs / "evaluation/one/test_latest/index.html").exists()

    status, lines = evaluate("--name", "one", *CPU, *flags)  # made so, and there
    assert status == 0 and not any("translating" in line for line in lines)
    (folder,) = (f for f in (runs / "one").glob("*_evaluation") if f.name.count("_") > 2)
    assert rows(folder) != plain == rows(runs / "one/test_latest_evaluation")
    made = "data, test, AtoB; epoch latest; resize_and_crop, 64 pixels wide"
    assert {
        "--num_test": f"outputs: the first 2 of {made}, --num_test 2",
        "--eval": f"outputs: {made}, --eval",
        "--dataroot": f"outputs: {made.replace('data', 'other')}",
    }[flags[0]] in lines


def rows_of(evaluate, *flags) -> list[dict[str, str]]:
    status, lines = evaluate(*flags, *CPU)
    assert status == 0, lines
    return rows(Path("results/one/test_latest_evaluation"))


def test_what_cannot_be_compared_is_refused_in_a_line(folders, evaluate, tmp_path, in_this_process):
    fake, real = folders

    def refused(*flags) -> str:
        status, lines = evaluate(*flags)
        assert status == 2, lines
        return lines[-1]

    pair = ["--fake", fake, "--real", real]
    assert "--name RUN, or both" in refused("--fake", fake)
    assert "give one of them, not both" in refused(*pair, "--name", "x")
    assert "--metrics L2: known are L1" in refused(*pair, "--metrics", "L2")
    assert "--metrics L2,L3: known are L1" in refused(*pair, "--metrics", "L3", "PSNR,L2")
    assert "did you mean SSIM?" in refused(*pair, "--metrics", "SSMI")
    assert "--metrics MS-SSIM" in (line := refused(*pair, "--metrics", "MS-SSIM"))
    assert "161 pixels" in line and "a.bmp" in line
    assert "--name nobody: there is no folder checkpoints/nobody" in refused("--name", "nobody")
    assert "--evil: unknown flag, or a flag of test.py" in refused(*pair, "--evil")
    for flag in (["--epoch", "all"], ["--use_ema"], ["--phase", "val"], ["--dataroot", "data"]):
        assert f"{flag[0]}: needs --name RUN" in refused(*pair, *flag)
    assert "--evil: unknown flag; did you mean --eval?" in refused("--name", "x", "--evil", *CPU)
    Image.new("RGB", (40, 31)).save(real / "b.png")
    line = refused(*pair)
    assert "40x30" in line and "40x31" in line and "b.png" in line
    (real / "b.png").write_bytes(b"bad")
    assert "b.png: cannot be read" in refused(*pair)
    (real / "b.png").unlink()
    assert "b.bmp has no partner" in refused(*pair)
    assert "--real" in refused("--fake", fake, "--real", tmp_path / "nothing")


def test_a_score_that_one_of_several_runs_lacks_is_left_out_of_it(tmp_path):
    for name in ("a", "b"):
        draw((31, 40)).save(tmp_path / f"{name}.png")
    files = {name: tmp_path / f"{name}.png" for name in ("a", "b")}
    first, second = (Result(ImageSet(name, files, files), {}) for name in ("one", "two"))
    first.together["FCN-FD"] = {"outputs": 1.5}
    assert table([first, second])[1:] == [f"  {'one':20} 1.5000"]
    write_page([second, first], [], tmp_path, 1)
    text = (tmp_path / "index.html").read_text()
    assert text.index("<td> </td>") < text.index("<td>1.5000 </td>")


def test_a_run_without_targets_is_refused(command, evaluate):
    draw_pairs(Path("data"), count=2)
    flags = ["--model", "cycle_gan", "--dataset_mode", "aligned", "--netG", "resnet_6blocks"]
    assert command("train", *TINY, *flags, "--dataroot", "data", "--name", "c").status == 0
    assert command("test", "--name", "c", "--gpu_ids", "-1").status == 0
    status, lines = evaluate("--name", "c", *CPU)
    assert status == 2 and "contains no outputs with their targets" in lines[-1]


def test_a_folder_that_cannot_be_written_is_named_before_the_translation(command, evaluate):
    draw_pairs(Path("data"), count=2)
    assert command("train", *TINY, "--dataroot", "data", "--name", "one").status == 0
    Path("out").write_text("a file")
    status, lines = evaluate("--name", "one", *CPU, "--out", "out")
    assert status == 2 and "--out: out cannot be written" in lines[-1]
    assert not Path("results").exists()


def test_the_page_has_the_settings_of_the_training(command, evaluate, in_this_process):
    draw_pairs(Path("data"))
    flags = [*TINY, "--dataroot", "data", "--no_html", "--lambda_L1", "50", "--no_dropout"]
    assert command("train", *flags, "--name", "one").status == 0
    assert evaluate("--name", "one", "--gpu_ids", "-1", "--out", "out")[0] == 0
    page = Path("out/index.html").read_text()
    (line,) = re.findall(r'<p class="settings">.*?</p>', page)
    shown = re.findall(r"<small>(.*?)</small>", line)
    assert {"--lambda_L1 50.0", "--no_dropout", "--netG unet_64", "--ngf 4"} <= set(shown)
    assert not any(flag.startswith(("--name", "--gpu_ids", "--batch_size")) for flag in shown)


def test_runs_on_other_images_are_not_compared(command, evaluate, in_this_process):
    draw_pairs(Path("data"))
    draw_pairs(Path("others"), size=(90, 90))
    flags = [*TINY, "--no_html", "--lambda_GAN", "0"]
    for name, data in (("one", "data"), ("two", "others"), ("three", "data")):
        assert command("train", *flags, "--dataroot", data, "--name", name).status == 0
    status, lines = evaluate("--name", "one", "two", "--gpu_ids", "-1", "--out", "out")
    text = "\n".join(lines)
    assert status == 0 and "two: other images than one" in text and "  two" in text
    assert not re.search(r"\] +[+-]0", text)
    assert "cannot be compared" in Path("out/index.html").read_text()
    status, lines = evaluate("--name", "one", "three", "--gpu_ids", "-1", "--out", "same")
    text = "\n".join(lines)
    assert "cannot be compared" not in text and re.search(r"\] +[+-]0", text)


@pytest.mark.parametrize(("count", "said"), [(1, "with 1 image,"), (9, "with 9 images,"), (10, "")])
def test_an_interval_of_few_images_is_said_to_be_narrow(tmp_path, evaluate, count, said):
    fake, real = tmp_path / "fake", tmp_path / "real"
    for i in range(count):
        for folder in (fake, real):
            folder.mkdir(exist_ok=True)
        draw((40, 30), seed=i).save(fake / f"{i}.png")
        draw((40, 30), seed=i + 50).save(real / f"{i}.png")
    status, lines = evaluate("--fake", fake, "--real", real, "--metrics", "L1")
    assert status == 0
    notes = [line for line in lines if "too narrow" in line]
    assert len(notes) == bool(said) and said in "".join(notes)


def test_scores_of_an_fcn_that_has_learnt_nothing_are_named():
    def result(*real: float) -> Result:
        names = ("FCN per-pixel accuracy", "FCN class IoU")
        scores = {
            name: {"outputs": 0.2, "real photos": value, "mean colour": 0.1}
            for name, value in zip(names, real, strict=True)
        }
        return Result(ImageSet("x", {}, {}), {}, {**scores, "FCN-FD": {"outputs": 3.0}})

    assert fcn_note([result(0.3, 0.2), result(0.3, 0.2)]) == ""
    note = fcn_note([result(0.3, 0.1), result(0.3, 0.05)])
    assert (
        note.startswith("FCN class IoU: the real photos score no higher") and "--fcn_epochs" in note
    )


def test_a_missing_run_is_told_before_another_is_translated(command, pairs):
    flags = ["--dataroot", pairs, "--name", "here", "--no_html"]
    assert command("train", *TINY, *flags).status == 0
    result = command("scripts.evaluate", "--name", "here", "hers", *CPU)
    assert result.status == 2 and not Path("results").exists()
    assert (
        "--name hers: there is no folder checkpoints/hers; did you mean --name here?" in result.err
    )


def test_a_name_given_twice_means_both(command, pairs):
    for name in ("one", "two"):
        flags = ["--dataroot", pairs, "--name", name, "--no_html"]
        assert command("train", *TINY, *flags).status == 0
    names = ["--name", "one", "--name", "two"]
    assert (
        command("scripts.evaluate", *names, "--metrics", "L1", "--metrics", "PSNR", *CPU).status
        == 0
    )
    (found,) = Path("results").rglob("metrics.json")
    runs = json.loads(found.read_text())["runs"]
    assert [(run["name"], [*run["metrics"]]) for run in runs] == [
        ("one", ["L1", "PSNR"]),
        ("two", ["L1", "PSNR"]),
    ]
    result = command(
        "scripts.evaluate", "--fake", "results/one/test_latest/images", "--real", pairs / "test"
    )
    assert result.status == 2 and "--name one measures it" in result.err


@pytest.mark.parametrize(("gap", "said"), [(0.1, "clear"), (0.0, None)])
def test_only_a_clear_difference_is_bold(gap, said):
    generator = np.random.default_rng(0)
    images = ImageSet("clear", {}, {})
    values = generator.normal(0.5, 0.1, 30)
    clear, other = (
        Result(images, {"L1": dict(enumerate(map(float, row)))})
        for row in (values - gap, values + generator.normal(0, 0.01, 30))
    )
    best = clearly_best([other, clear], "L1")
    assert (best and best.images.name) == said and clearly_best([clear], "L1") is None
