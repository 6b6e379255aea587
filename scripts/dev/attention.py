"""Measure contextual attention in blocks beside one kernel a patch with all scores at once, and
the memory of a whole generator: `python -m scripts.dev.attention --sizes 256,512,1024`.

Times are of one image of each size, on the CPU with the threads of OMP_NUM_THREADS.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from models.contextual_attention import contextual_attention
from models.inpaint_networks import InpaintGenerator
from options.parser import OneLineParser, number
from scripts.dev.measure import Spread, Step, machine, peak_memory, quarter_hole, side_by_side
from scripts.dev.plain_attention import plain_attention
from util.command import run_command
from util.device import tune_malloc

MOST_AT_ONCE = 512  # pixels a side; all scores of larger images take many GB
CPU = torch.device("cpu")
CHANNELS = 96  # of the features, at a fourth of the image's size


def main(argv: Sequence[str] | None = None) -> None:
    """Print a table with a row for each size: seconds of both, their ratio, and the memory."""
    parser = OneLineParser(prog="python -m scripts.dev.attention", description=__doc__)
    parser.add_argument("--sizes", default="256,512,1024", help="pixels a side of the images")
    parser.add_argument("--rounds", type=number(int, 1), default=3, help="measurements of each")
    args = parser.parse_args(argv)
    print(machine(), flush=True)
    print("\n| image | pass | at once | in blocks | ratio | memory of a generator |")
    print("|---|---|---|---|---|---|")
    for size in map(int, args.sizes.split(",")):
        memory = f"{peak_memory(generator, size, device=CPU) / 1024:.2f} GB"
        for learns in (False, True):
            row = [f"{size}×{size}", "forward and backward" if learns else "forward"]
            row += times(size, learns, args.rounds)
            print(f"| {' | '.join([*row, '' if learns else memory])} |", flush=True)


def times(size: int, learns: bool, rounds: int) -> list[str]:
    """Return the cells of the seconds of both implementations and of their ratio."""
    steps = {"ours": attention(contextual_attention, size, learns)}
    if size <= MOST_AT_ONCE:
        steps["plain"] = attention(plain_attention, size, learns)
    spreads = side_by_side(steps, rounds)
    ours = spreads["ours"].median
    if "plain" not in spreads:
        return ["", f"{ours:.2f} s", ""]
    plain: Spread = spreads["plain"]
    return [f"{plain.median:.2f} s", f"{ours:.2f} s", f"{plain.median / ours:.2f}"]


def attention(attend: Callable[[Tensor, Tensor], Tensor], size: int, learns: bool) -> Step:
    """Return a pass of the attention of one image with a hole."""
    torch.manual_seed(0)
    side = size // 4
    x = torch.randn(1, CHANNELS, side, side, requires_grad=learns)
    mask = quarter_hole(1, side, side)

    def step() -> None:
        with torch.set_grad_enabled(learns):
            output = attend(x, mask)
        if learns:
            x.grad = None
            output.square().mean().backward()

    return step


def generator(size: int) -> Step:
    """Return the forward pass of a published generator."""
    tune_malloc()
    net = InpaintGenerator().eval()
    image = torch.zeros(1, 3, size, size)
    return torch.inference_mode()(partial(net, image, quarter_hole(1, size, size)))


if __name__ == "__main__":
    raise SystemExit(run_command(main))
