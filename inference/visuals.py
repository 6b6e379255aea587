"""The images of a test: what a model makes of a batch of a dataset, by label."""

from typing import Any

from torch import Tensor

from data.files.large_images import LargeImage
from translator import Translator
from util.variants import variant_label


def visuals_of(translator: Translator, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Translate a batch of a dataset; return all images of the model, (N, C, H, W) by label.

    The model stores the images, so threads must not share a translator here. Images that are read
    in windows (`LargeImage`) are returned as uint8 in 0..255.
    """
    if any(isinstance(batch.get(side), LargeImage) for side in "AB"):
        return _of_large(translator, batch)
    model, opt = translator.model, translator.opt
    model.set_input(batch)
    model.test()
    visuals = model.get_current_visuals()
    for number in range(2, opt.num_variants + 1):
        with model.test_mode(model.image_paths, opt.seed + number - 1):
            model.forward()
        variant = model.get_current_visuals()
        visuals |= {variant_label(k, number): variant[k] for k in variant if k.startswith("fake")}
    return visuals


def _of_large(translator: Translator, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Return the images of one image that is read in windows."""
    model, opt = translator.model, translator.opt
    side = translator.side if translator.side in batch else "A"  # --model test has only A
    other = "AB"["BA".index(side)]
    image, target = batch[side], batch.get(other)
    model.image_paths = batch[f"{side}_paths"]
    real, fake = ("real", "fake") if opt.model == "test" else ("real_A", "fake_B")
    with image.opened(translator.preprocess_single) as read:
        visuals = {real: image.shown(read)}
        for number in range(1, opt.num_variants + 1):
            name_and_seed = model.image_paths[0], opt.seed + number - 1
            visuals[variant_label(fake, number)] = translator.in_windows(
                image, read, *name_and_seed
            )
    if target:
        visuals["real_B"] = target.as_target(opt, translator.ranges.get(other))
    return visuals
