"""The networks of DeepFillv2: keys and shapes of the published weights, outputs as recorded."""

import pytest
import torch
from support.peaks import linux_only, peak_in_a_process
from support.recorded import assert_recorded, filled, noise, state_dicts, traces
from torch import Tensor, nn

from models.inpaint_networks import (
    GatedConv2d,
    InpaintGenerator,
    SNPatchDiscriminator,
    SpectralConv2d,
    pad_same,
)

BUILD = {
    "inpaint G (cnum 48)": InpaintGenerator,
    "inpaint D (image + mask, 64)": SNPatchDiscriminator,
}
FORWARD = traces("forward", "inpaint")


@pytest.mark.parametrize("name", state_dicts("inpaint"))
def test_keys_and_shapes_are_those_of_the_published_weights(name: str) -> None:
    with torch.device("meta"):
        found = {key: [*value.shape] for key, value in BUILD[name]().state_dict().items()}
    assert found == state_dicts("inpaint")[name]


def hole(size: int = 64, count: int = 2) -> Tensor:
    mask = torch.zeros(count, 1, size, size)
    mask[..., 16:40, 20:52] = 1
    return mask


def strong(net: nn.Module) -> nn.Module:
    """Fill a network as recorded: weights of convolutions get the scale of their inputs."""
    filled(net)
    with torch.no_grad():
        for weight in (p for p in net.parameters() if p.dim() == 4):
            weight.mul_((2 / weight[0].numel()) ** 0.5 / 0.02)
    return net


@pytest.mark.parametrize("fuse", [True, False])
def test_the_images_of_both_stages_are_those_recorded(fuse: bool) -> None:
    netG, mask = strong(InpaintGenerator(16, fuse=fuse)), hole()
    with torch.no_grad():
        stages = netG(noise("inpaint", (2, 3, 64, 64)) * (1 - mask), mask)
    wanted = FORWARD[f"G cnum 16, 64x64, fuse={fuse}"]
    for stage, trace in zip(stages, (wanted["stage1"], wanted["stage2"]), strict=True):
        assert_recorded(stage, trace)


def test_what_is_in_the_hole_is_never_seen() -> None:
    netG, mask = strong(InpaintGenerator(4)), hole()
    image = noise("image", (2, 3, 64, 64))
    seen = netG(image, mask)
    for one, other in zip(seen, netG(image * (1 - mask) + mask, mask), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(netG(image, 0 * mask)[1], seen[1])


@pytest.mark.parametrize("size", [(64, 64), (33, 47), (8, 65), (1, 3)])
def test_any_size_comes_back(size: tuple[int, int]) -> None:
    mask = torch.zeros(1, 1, *size)
    mask[..., : size[0] // 2, :] = 1
    stages = InpaintGenerator(4)(torch.rand(1, 3, *size), mask)
    assert [stage.shape[2:] for stage in stages] == [size, size]


def test_the_pixels_beside_the_padding_are_those_of_the_padded_image() -> None:
    netG, mask, image = strong(InpaintGenerator(4)), hole(), noise("image", (2, 3, 64, 64))
    image[..., 60:], mask[..., 60:] = image[..., 59:60], mask[..., 59:60]
    whole, cropped = netG(image, mask)[1], netG(image[..., :60], mask[..., :60])[1]
    assert torch.equal(whole[..., :60], cropped)


def test_without_attention_there_is_one_branch() -> None:
    netG = InpaintGenerator(8, attention="none")
    assert not [key for key in netG.state_dict() if key.startswith("pmconv")]
    assert netG.allconv11.conv.weight.shape[1] == 16
    assert netG(torch.rand(1, 3, 16, 16), torch.ones(1, 1, 16, 16))[1].shape == (1, 3, 16, 16)


def test_a_sketch_steers_only_inside_the_hole() -> None:
    netG, mask, image = strong(InpaintGenerator(4, guided=True)), hole(), torch.rand(2, 3, 64, 64)
    sketch = torch.zeros_like(mask)
    plain = netG(image, mask, sketch)[1]
    sketch[..., :10, :] = 1
    assert torch.equal(netG(image, mask, sketch)[1], plain)
    sketch[..., 20:22, 24:48] = 1
    assert not torch.equal(netG(image, mask, sketch)[1], plain)


@pytest.mark.parametrize("flags", [{"cnum": 6}, {"cnum": 0}, {"attention": "some"}])
def test_unknown_architectures_are_refused(flags: dict) -> None:
    with pytest.raises(ValueError, match="multiple of 4|known are contextual, none"):
        InpaintGenerator(**flags)


@pytest.mark.parametrize(
    ("kernel", "size", "before"), [(3, 8, 0), (3, 7, 1), (5, 8, 1), (5, 7, 2), (5, 1, 2)]
)
def test_strided_convolutions_are_padded_as_in_tensorflow(kernel, size, before) -> None:
    padded = pad_same(torch.ones(1, 1, size, size), kernel, 2)
    assert (padded.shape[-1] - kernel) // 2 + 1 == -(-size // 2)
    assert padded[0, 0, before].sum() == size
    assert before == 0 or padded[0, 0, before - 1].sum() == 0


def test_a_gate_of_minus_infinity_lets_nothing_through() -> None:
    layer, x = GatedConv2d(2, 3), torch.rand(1, 2, 5, 5)
    with torch.no_grad():
        layer.conv.bias[3:] = -1e4
    assert layer(x).abs().max() == 0


def test_the_weights_of_d_have_the_largest_singular_value_1() -> None:
    torch.manual_seed(0)
    conv = SpectralConv2d(3, 8, 5, stride=2)
    for _ in range(60):
        conv(torch.rand(1, 3, 8, 8))
    x, bias = torch.rand(1, 3, 8, 8), conv.bias.view(1, -1, 1, 1)
    normal = conv(x) - bias
    largest = torch.linalg.matrix_norm(conv.weight.detach().flatten(1), 2)
    raw = conv._conv_forward(pad_same(x, 5, 2), conv.weight, None)
    torch.testing.assert_close(normal, raw / largest, rtol=1e-4, atol=1e-5)


def test_only_training_moves_the_vectors_of_spectral_norms() -> None:
    conv = SpectralConv2d(3, 8, 5, stride=2)
    before = conv.weight_u.clone()
    conv.eval()(torch.rand(1, 3, 8, 8))
    assert torch.equal(conv.weight_u, before)
    conv.train()(torch.rand(1, 3, 8, 8))
    assert not torch.equal(conv.weight_u, before)


def test_d_judges_places_of_any_size() -> None:
    netD = SNPatchDiscriminator(5, 4)
    assert netD(torch.rand(2, 5, 128, 65)).shape == (2, 16 * 2 * 2)


MEASURE = """
import torch
from models.inpaint_networks import HoleFiller, InpaintGenerator
from support.peaks import measured_peak
torch.set_num_threads(1)
net = HoleFiller(InpaintGenerator().eval())
x = torch.rand(1, 4, 1024, 1024) * 2 - 1
x[:, 3] = 0
x[:, 3, 256:512, 300:800] = 1
with torch.inference_mode():
    net(x[..., :64, :64])
    with measured_peak() as peak:
        net(x)
print(peak.grown)
"""


@pytest.mark.slow
@linux_only
def test_an_image_of_1024_pixels_a_side_takes_at_most_2_gb() -> None:
    assert peak_in_a_process(MEASURE) < 2
