"""What data and models of inpainting have in common."""

LEAST_SIDE = 16  # pixels: two patches of the attention beside each other


def check_size(width: int, height: int, flag: str = "") -> None:
    """Raise a ValueError for an image that is too small for the attention.

    `flag` is the one that its size comes from, without dashes; "" if that is the file's own.
    """
    if min(width, height) >= LEAST_SIDE:
        return
    size = f"{width}x{height} pixels"
    cause = f"--{flag}: makes images of {size}, " if flag else f"{size}: "
    fix = f"use a larger --{flag}" if flag else "enlarge the image"
    raise ValueError(
        f"{cause}too few for the attention, which splits images of at least "
        f"{LEAST_SIDE}x{LEAST_SIDE}; {fix}"
    )
