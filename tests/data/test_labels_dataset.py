"""Items of label maps: what they hold, how they are resized, in which batches they come."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SHARED, draw, refusal
from PIL import Image
from support.label_folders import SIZE, classes, draw_coloured, draw_labels, photo, save
from support.recorded import traces

from data import create_dataset, create_validation_dataset
from data.labels.reader import as_numbers
from data.labels_dataset import LabelsDataset
from data.transforms import to_tensor
from options.test_options import TestOptions
from options.train_options import TrainOptions

COCO = SHARED / "datasets" / "coco_stuff"
WHOLE = ["--preprocess", "none", "--no_flip"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the classes are kept in ./checkpoints


def options(root: Path, *flags: Any, kind: type = TrainOptions) -> Any:
    small = ["--load_size", "18", "--crop_size", "16", "--num_threads", "0", "--gpu_ids", "-1"]
    return kind().read(["--dataroot", root, "--dataset_mode", "labels", *small, *flags])


def dataset(root: Path, *flags: Any, kind: type = TrainOptions) -> LabelsDataset:
    return LabelsDataset(options(root, *flags, kind=kind))


def test_an_item_has_numbers_edges_and_an_image(tmp_path: Path) -> None:
    item = dataset(draw_labels(tmp_path / "d"), *WHOLE)[1]
    assert item["label"].dtype == item["instance"].dtype == torch.int64
    assert torch.equal(item["label"][0], torch.from_numpy(classes(1, (0, 1, 2))).long())
    assert item["instance"].unique().tolist() == [500, 1000]
    assert torch.equal(item["image"], to_tensor(Image.open(tmp_path / "d/train_img/1.jpg")))
    edges = item["edges"]
    assert edges.dtype == torch.float32 and edges.shape == (1, *SIZE[::-1])
    changes = (item["instance"][..., 1:] != item["instance"][..., :-1])[0, 0].nonzero()[:, 0]
    assert edges[0, 0].nonzero()[:, 0].tolist() == sorted(
        {*changes.tolist(), *(changes + 1).tolist()}
    )
    for kind, folder in (("label", "label"), ("image", "img"), ("instance", "inst")):
        assert Path(item[f"{kind}_paths"]).parent.name == f"train_{folder}"
    assert item["A_size"] == SIZE


@pytest.mark.parametrize("preprocess", ["resize_and_crop", "crop", "scale_width_and_crop", "fixed"])
def test_all_maps_of_an_item_share_crop_and_flip_and_no_number_is_new(tmp_path, preprocess) -> None:
    root = tmp_path / "d"
    for i in range(3):
        map_ = np.random.default_rng(i).permutation(np.arange(480) % 256).reshape(20, 24)
        for folder in ("label", "inst", "img"):
            save(root / f"train_{folder}" / f"{i}.png", map_.astype(np.uint8))
    flags = ["--preprocess", preprocess, "--filter_B", "nearest", "--aspect_ratio", "2"]
    data = dataset(root, *flags)
    for i in range(3):
        item = data[i]
        assert torch.equal(item["label"], item["instance"])
        assert torch.equal(((item["image"][:1] + 1) * 127.5).round().long(), item["label"])
        stored = np.asarray(Image.open(data.label_paths[i]))
        assert set(item["label"].unique().tolist()) <= set(stored.ravel().tolist())
        assert item["label"].shape[1:] == ((8, 16) if preprocess == "fixed" else (16, 16))


def test_unknown_pixels_get_a_class_after_the_others(tmp_path: Path) -> None:
    root = draw_labels(tmp_path / "d", (0, 1, 255))
    label = dataset(root, *WHOLE, "--contain_dontcare_label")[0]["label"]
    assert label.unique().tolist() == [0, 1, 2]
    of_offset = dataset(root, *WHOLE, "--contain_dontcare_label", "--label_offset", "1")
    assert of_offset.opt.label_nc == 1 and of_offset[0]["label"].unique().tolist() == [0, 1]
    assert dataset(root, *WHOLE)[0]["label"].unique().tolist() == [0, 1, 255]


def test_maps_of_palette_16_and_32_bits_are_read_as_they_are(tmp_path: Path) -> None:
    root = draw_labels(tmp_path / "d", count=1)
    map_ = classes(0, (0, 1, 2))
    paletted = Image.fromarray(map_, "P")
    paletted.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    paletted.save(root / "train_label" / "0.png")
    (root / "train_inst" / "0.png").unlink()
    large = map_.astype(np.int32) * 70_000
    Image.fromarray(large).save(root / "train_inst" / "0.tif")
    item = dataset(root, *WHOLE)[0]
    assert np.array_equal(item["label"][0], map_) and np.array_equal(item["instance"][0], large)
    save(root / "train_label" / "0.png", map_.astype(np.uint16) + 300)
    data = dataset(root, *WHOLE)
    assert data.opt.label_nc == 303 and np.array_equal(data[0]["label"][0], map_ + np.int64(300))


@pytest.mark.parametrize("ending", [".png", ".jpg"])
def test_colours_become_classes_on_the_side_that_is_translated(tmp_path, ending) -> None:
    root = draw_coloured(tmp_path / "d", ending=ending)
    data = dataset(root, *WHOLE, "--direction", "BtoA")
    assert data.opt.label_nc == 5 and data.opt.no_instance and len(data.opt.label_colours) == 5
    item = data[1]
    assert "instance" not in item and "edges" not in item
    assert item["image"].shape == (3, 96, 96) and item["label"].shape == (1, 96, 96)
    middles = item["label"][0, 48, 9::19].tolist()
    assert sorted(middles) == [0, 1, 2, 3, 4]
    if ending == ".png":
        assert torch.equal(item["image"], to_tensor(draw((96, 96), 1)))
        two = dataset(draw_coloured(tmp_path / "two", stitched=False), *WHOLE)
        assert two.opt.label_colours == data.opt.label_colours
        assert torch.equal(two[1]["label"], item["label"])


def test_grey_maps_in_two_folders_hold_numbers(tmp_path: Path) -> None:
    root = draw_labels(tmp_path / "d", instances=False)
    for ends in ("label A", "img B"):
        old, new = ends.split()
        (root / f"train_{old}").rename(root / f"train{new}")
    opt = options(root)
    assert (opt.label_nc, opt.label_colours) == (3, None)


def test_a_test_needs_labels_alone(tmp_path: Path) -> None:
    root = draw_labels(tmp_path / "d")
    shutil.rmtree(root / "test_img")
    shutil.rmtree(root / "test_inst")
    flags = ["--label_nc", "3", "--label_offset", "0"]
    data = create_dataset(options(root, *flags, kind=TestOptions))
    batch = next(iter(data))
    assert "image" not in batch and "image_paths" not in batch and len(data) == 3
    assert batch["edges"].any() and "no instance maps" in data.remarks[0]
    assert "edges" not in next(
        iter(create_dataset(options(root, *flags, "--no_instance", kind=TestOptions)))
    )
    coloured = draw_coloured(tmp_path / "c", stitched=False)
    shutil.rmtree(coloured / "testB")
    colours = options(coloured).label_colours
    flags = ["--label_nc", "5", "--label_colours", ",".join(colours), "--no_instance"]
    batch = next(iter(create_dataset(options(coloured, *flags, kind=TestOptions))))
    assert "image" not in batch and batch["label"].shape == (1, 1, 16, 16)


def test_the_cache_gives_the_same_items(tmp_path: Path, caplog: Any) -> None:
    root = draw_labels(tmp_path / "d")
    save(root / "train_inst" / "0.png", classes(0, (1, 2)).astype(np.uint16) * 30_000)
    plain, cached = (create_dataset(options(root, "--cache", how)) for how in ("none", "ram"))
    assert cached.dataset.cache is not None
    for _ in range(2):  # filled, then read
        for one, other in zip(plain, cached, strict=True):
            assert one.keys() == other.keys()
            for name in ("label", "image", "instance", "edges"):
                assert torch.equal(one[name], other[name])


def test_workers_and_ranks_give_the_same_items(tmp_path: Path) -> None:
    root = draw_labels(tmp_path / "d")
    flags = ["--batch_size", "2"]
    here, there = (
        [b["label"] for b in create_dataset(options(root, *flags, "--num_threads", n))]
        for n in (0, 2)
    )
    assert all(torch.equal(one, other) for one, other in zip(here, there, strict=True))


def test_a_bad_item_is_skipped_or_named(tmp_path: Path, caplog: Any) -> None:
    root = draw_labels(tmp_path / "d")
    photo(root / "train_label" / "1.png", 0)
    refusal(lambda: options(root), "train_label/1.png: is RGB, but a label map has one channel")
    data = create_dataset(options(root, "--on_bad_image", "skip"))
    assert data.dataset.opt.label_nc == 3 and len([*data]) == 3
    assert "skipped" in caplog.text and "train_label/1.png: is RGB" in caplog.text


def test_maps_of_other_sizes_are_named(tmp_path: Path) -> None:
    root = draw_labels(tmp_path / "d")
    photo(root / "train_img" / "1.jpg", 0, (40, 20))
    data = dataset(root)
    assert data[1]["image"].shape == (3, 16, 16)
    (remark,) = data.remarks()
    assert "train_img/1.jpg has 40x20 pixels and" in remark and "label/1.png 24x20" in remark
    refusal(lambda: dataset(root, *WHOLE), "train_img/1.jpg has 40x20", "--preprocess resize")
    save(root / "train_inst" / "0.png", classes(0, (1, 2), (30, 20)))
    said = "train_inst/0.png has 30x20", "24x20: both maps of an image"
    refusal(lambda: dataset(root), *said)
    skipping = dataset(root, "--on_bad_image", "skip")
    refusal(lambda: skipping[0], *said)


def test_validation_reads_val_in_order_without_flips(tmp_path: Path) -> None:
    opt = options(draw_labels(tmp_path / "d"))
    batches = [*create_validation_dataset(opt, most=2)]
    paths = [batch["label_paths"][0] for batch in batches]
    assert paths == [str(tmp_path / f"d/val_label/{i}.png") for i in range(2)]


def test_a_label_map_outside_of_the_dataset_becomes_the_same_numbers(tmp_path: Path) -> None:
    root = draw_labels(tmp_path / "d")
    flags = ["--label_nc", "3", "--label_offset", "0", "--no_instance", "--load_size", "16"]
    opt = options(root, *flags, kind=TestOptions)
    prepare, item = LabelsDataset.single_preprocessor(opt, {}), LabelsDataset(opt)[0]
    assert torch.equal(prepare(as_numbers(classes(0, (0, 1, 2)))), item["label"])


def test_the_built_in_facades_are_label_maps(tmp_path: Path, few_builtin: None) -> None:
    opt = TrainOptions().read(["--dataset_mode", "labels", "--num_threads", "0", "--gpu_ids", "-1"])
    data = create_dataset(opt)
    assert opt.label_nc == len(opt.label_colours) == 13 and opt.no_instance
    assert next(iter(data))["label"].shape == (2, 1, 64, 64)
    assert {name for _, name in data.classes} >= {"sky", "window", "door"}


RECORDED = {
    ("spade_coco", "instance", 1): "--label_nc 182 --contain_dontcare_label --batch_size 2",
    ("spade_custom_noinst_bs1_instance", "", 1): "--label_nc 182 --contain_dontcare_label "
    "--no_instance",
    ("hd_coco_global", "inst", 255): "--label_nc 256",
}


@pytest.mark.skipif(not COCO.is_dir(), reason="the images of COCO-Stuff are not here")
@pytest.mark.parametrize("which", RECORDED)
def test_the_first_batch_is_the_one_of_the_published_code(which: tuple[str, str, int]) -> None:
    name, instance, scale = which
    flags = "--serial_batches --no_flip --load_size 64 --crop_size 64 --no_data_check".split()
    batch = next(iter(create_dataset(options(COCO, *flags, *RECORDED[which].split()))))
    recorded = traces("training", name)["first_batch"]
    for ours, theirs in (("label", "label"), ("image", "image"), ("instance", instance)):
        if theirs:
            values, expected = batch[ours].double(), recorded[theirs]
            values = values / scale if ours == "instance" else values  # pix2pixHD's are 0 to 1
            flat = values.flatten()
            samples = flat[np.linspace(0, len(flat) - 1, 8).astype(int)]
            assert list(values.shape) == expected["shape"]
            assert float(flat.mean()) == pytest.approx(expected["mean"], abs=1e-6)
            assert float(flat.std()) == pytest.approx(expected["std"], abs=1e-6)
            assert samples.tolist() == pytest.approx(expected["samples"], abs=1e-6)
    assert ("edges" in batch) == bool(instance)
