"""Label maps that tests draw."""

import numpy as np

COLOURS = [(0, 48, 255), (255, 159, 1), (192, 255, 63), (174, 0, 1), (10, 10, 10)]


def label_map(seed: int, size: int = 96) -> np.ndarray:
    """Paint rectangles, more of the first colours than of the last."""
    generator = np.random.default_rng(seed)
    image = np.empty((size, size, 3), np.uint8)
    image[:] = COLOURS[0]
    for k in range(1, len(COLOURS)):
        for _ in range(len(COLOURS) - k):
            y, x = generator.integers(0, size - 24, 2)
            image[y : y + 24, x : x + 24] = COLOURS[k]
    return image


SPADE = ("--model", "spade", "--netG", "spade", "--no_vgg_loss", "--init_gain", "1")
HD = ("--model", "pix2pixHD", "--netG", "global", "--no_vgg_loss")
HD += ("--n_downsample_global", "1", "--n_blocks_global", "1")
