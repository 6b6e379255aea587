"""What data and models of inpainting have in common."""

LEAST_SIDE = 16  # pixels: two patches of the attention beside each other


def check_size(width: int, height: int) -> None:
    """Raise a ValueError for an image that is too small for the attention."""
    if min(width, height) < LEAST_SIDE:
        raise ValueError(
            f"{width}x{height} pixels: too few for the attention, which splits images of at least "
            f"{LEAST_SIDE}x{LEAST_SIDE}; enlarge the image"
        )
