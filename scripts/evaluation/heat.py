"""The colours of error maps."""

import numpy as np


def heat_colours(share: np.ndarray) -> np.ndarray:
    """Return the colours, (…, 3) in 0..255, of shares of the largest error shown, in [0, 1]."""
    import matplotlib

    return np.ascontiguousarray(matplotlib.colormaps["inferno"](share, bytes=True)[..., :3])
