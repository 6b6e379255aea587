"""What an image on a page is, in plain words: input, output, target."""

from collections.abc import Collection

from util.variants import plain_label

# The order of a page's images, by label without its ending _rgb; unknown labels come last.
PAIRED = {
    **dict.fromkeys(("real", "real_A"), "input"),
    **{f"real_A{n}": f"input {n}" for n in range(1, 10)},
    **dict.fromkeys(("fake", "fake_B"), "output"),
    "real_B": "target",
    "rec_A": "input reconstructed",
}
# Holes that are filled in two stages.
FILLED = {
    "real_A": "input with hole",
    "stage_1": "stage 1",
    "fake_B": "result",
    "real_B": "truth",
}
# CycleGAN translates both ways and has no targets.
BOTH_WAYS = {
    "real_A": "input A",
    "fake_B": "output B",
    "rec_A": "A reconstructed",
    "idt_B": "identity of A",
    "real_B": "input B",
    "fake_A": "output A",
    "rec_B": "B reconstructed",
    "idt_A": "identity of B",
}


def captions(labels: Collection[str]) -> dict[str, str]:
    """Return the caption of each label, in the order of a page: {"real_A": "input", …}.

    An unknown label is its own caption.
    """
    caption_of = BOTH_WAYS if "fake_A" in labels else FILLED if "stage_1" in labels else PAIRED
    order = list(caption_of)

    def place(label: str) -> tuple[int, int]:
        plain, number = plain_label(label)
        plain = plain.removesuffix("_rgb")
        return order.index(plain) if plain in order else len(order), number

    def caption(label: str) -> str:
        plain, number = plain_label(label)
        name = caption_of.get(plain.removesuffix("_rgb"), plain)
        return name if number == 1 else f"{name}, variant {number}"

    return {label: caption(label) for label in sorted(labels, key=place)}  # a stable sort


def columns_of(labels: Collection[str]) -> int:
    """Return how many images stand side by side; CycleGAN's two ways are two lines."""
    both_ways = "fake_A" in labels and set(labels) <= BOTH_WAYS.keys()
    return len(labels) // 2 if both_ways else len(labels)
