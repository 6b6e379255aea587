"""Convolutions of label maps by their distinct windows are those of the one-hot maps."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import spectral_norm

from models import label_convolution, pix2pixHD_networks, spade_networks
from models.label_convolution import Beside, LabelConv2d, LabelReflectionPad2d, RepeatedFeatures
from models.label_windows import LabelMap, one_hot, semantic_map
from models.semantic import FromLabels

CLASSES = 40


def blocks(n: int = 1, height: int = 45, width: int = 51, *, edges: bool = True) -> Tensor:
    """Return labels (n, 1 or 2, height, width) that have few distinct windows."""
    torch.manual_seed(height * width + n)
    small = torch.randint(0, CLASSES, (n, 1, -(-height // 20), -(-width // 20))).float()
    small[0, 0, 0, 0] = CLASSES - 1  # the last class, of unknown pixels
    labels = small.repeat_interleave(20, 2).repeat_interleave(20, 3)[..., :height, :width]
    return torch.cat([labels, labels != labels.roll(1, 3)], 1) if edges else labels


def as_tensor_and_as_map(labels: Tensor) -> tuple[Tensor, LabelMap]:
    return one_hot(labels, CLASSES), LabelMap(labels, CLASSES)


def gradients(net: nn.Module, output: Tensor, *inputs: Tensor) -> list[Tensor]:
    """Return the gradients that weights and inputs get of a gradient of the output."""
    torch.manual_seed(3)
    grad = torch.randn(output.shape).to(output)
    return list(torch.autograd.grad(output, [*net.parameters(), *inputs], grad))


def assert_near(found: list[Tensor], wanted: list[Tensor], tolerance: float = 1e-5) -> None:
    """Assert that each tensor is near, in parts of its largest value."""
    for some, of in zip(found, wanted, strict=True):
        assert some.shape == of.shape and some.dtype == of.dtype
        assert (some - of).abs().max() <= tolerance * of.abs().max().clamp(min=1e-3)


@pytest.fixture
def ways(monkeypatch) -> list[bool]:
    """Note of each convolution of a map whether it was one of its distinct windows."""
    found: list[bool] = []
    few_windows = LabelConv2d.few_windows

    def noted(self: LabelConv2d, x: LabelMap | RepeatedFeatures):
        windows = few_windows(self, x)
        found.append(windows is not None)
        return windows

    monkeypatch.setattr(LabelConv2d, "few_windows", noted)
    return found


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("edges", [True, False])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(1, 1, 0), (3, 1, 1), (5, 1, 2), (7, 1, 3), (7, 1, 0), (4, 2, 2), ((3, 5), (2, 1), (0, 2))],
)
def test_outputs_and_gradients_are_those_of_the_one_hot_map(
    ways, kernel, stride, padding, edges, layout
) -> None:
    hot, labels = as_tensor_and_as_map(blocks(2, 61, 83, edges=edges))
    conv = LabelConv2d(CLASSES + edges, 9, kernel, stride=stride, padding=padding)
    conv.to(memory_format=layout)
    wanted, found = conv(hot), conv(labels)
    assert ways == [True]
    assert_near([found, *gradients(conv, found)], [wanted, *gradients(conv, wanted)])
    wide = kernel != 1  # the weights of 1×1 kernels have both layouts
    assert found.is_contiguous(memory_format=layout if wide else torch.contiguous_format)


def test_of_too_many_windows_the_plain_convolution_is_taken(ways) -> None:
    torch.manual_seed(0)
    labels = torch.randint(0, CLASSES, (1, 1, 40, 40)).float()
    conv = LabelConv2d(CLASSES, 4, 3, padding=1, repeats=True)
    assert torch.equal(conv(LabelMap(labels, CLASSES)), conv(one_hot(labels, CLASSES)))
    small = blocks(1, 20, 20, edges=False)
    assert isinstance(conv(LabelMap(small, CLASSES)), Tensor)  # too small to search
    assert ways == [False, False]


def stack(*, repeats: bool = True) -> nn.Module:
    conv = LabelConv2d(CLASSES + 1, 6, 3, padding=1, repeats=repeats)
    return nn.ModuleList([conv, LabelConv2d(6, 5, 3, padding=1), LabelConv2d(6, 2, 3, padding=1)])


def run(net: nn.Module, x: Tensor | LabelMap) -> Tensor:
    hidden = label_convolution.apply(torch.relu, net[0](x))
    return torch.cat([net[1](hidden), net[2](hidden)], 1)


def test_two_convolutions_in_a_row_see_the_windows_of_windows(ways) -> None:
    hot, labels = as_tensor_and_as_map(blocks(3))
    net = stack()
    wanted, found = run(net, hot), run(net, labels)
    assert ways == [True, True, True]
    assert_near([found, *gradients(net, found)], [wanted, *gradients(net, wanted)])


def test_features_whose_windows_are_many_are_convolved_as_a_tensor(ways, monkeypatch) -> None:
    monkeypatch.setattr(label_convolution, "MOST_OF_FEATURES", 0.0)
    hot, labels = as_tensor_and_as_map(blocks(2))
    net = stack()
    wanted, found = run(net, hot), run(net, labels)
    assert ways == [True, False, False]
    assert_near([found, *gradients(net, found)], [wanted, *gradients(net, wanted)])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_gradients_are_the_derivatives(monkeypatch, layout) -> None:
    monkeypatch.setattr(label_convolution, "LEAST", 0)
    monkeypatch.setattr(label_convolution, "BEFORE_ANOTHER", 1.0)
    monkeypatch.setattr(label_convolution, "MOST_OF_FEATURES", 1.0)
    monkeypatch.setattr(label_convolution, "CHUNK", 7)
    labels = torch.cat([torch.randint(0, 3, (2, 1, 4, 5)), torch.randint(0, 2, (2, 1, 4, 5))], 1)
    labels = LabelMap(labels.double(), 3)
    first = LabelConv2d(4, 2, 3, padding=1, repeats=True)
    second = LabelConv2d(2, 2, 3, padding=1)
    net = nn.ModuleList([first, second]).double().to(memory_format=layout)

    def output(*weights: Tensor) -> Tensor:
        named = dict(zip(("weight", "bias"), weights[:2], strict=True))
        hidden = torch.func.functional_call(first, named, labels)
        assert isinstance(hidden, RepeatedFeatures)
        named = dict(zip(("weight", "bias"), weights[2:], strict=True))
        return torch.func.functional_call(second, named, hidden)

    assert torch.autograd.gradcheck(output, [*net.parameters()])


@pytest.mark.parametrize("few", [True, False])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("classes", [CLASSES, 4])
def test_maps_beside_images_are_convolved_as_joined(ways, classes, times, few) -> None:
    labels = blocks(2) if few else torch.randint(0, 4, (2, 2, 45, 51)).float()
    labels[:, 0] %= classes
    labels[:, 1] %= 2
    conv = LabelConv2d(classes + 4, 5, 4, stride=2, padding=2)
    images = torch.randn(2 * times, 3, 45, 51, requires_grad=True)
    hot = one_hot(labels, classes)
    for semantics in (LabelMap(labels, classes), hot):
        wanted = conv(torch.cat([hot.repeat(times, 1, 1, 1), images], 1))
        found = conv(Beside(semantics, images))
        assert_near(
            [found, *gradients(conv, found, images)], [wanted, *gradients(conv, wanted, images)]
        )
    assert ways == [few and classes >= label_convolution.FEW]


def test_label_maps_are_padded_by_reflection() -> None:
    hot, labels = as_tensor_and_as_map(blocks(2))
    net = nn.Sequential(LabelReflectionPad2d(3), LabelConv2d(CLASSES + 1, 4, 7))
    assert_near([net(labels)], [net(hot)])


@pytest.mark.parametrize("size", [(45, 51), (23, 26), (90, 110), (7, 9)])
def test_maps_of_another_size_are_those_of_the_nearest_pixels(size) -> None:
    hot, labels = as_tensor_and_as_map(blocks(2))
    small = labels.resized(size)
    assert torch.equal(small.dense(), F.interpolate(hot, size=size, mode="nearest"))
    assert small.shape == (2, CLASSES + 1, *size) and labels.resized(size) is small


def test_a_class_that_is_none_is_refused() -> None:
    for number in (-1, CLASSES):
        labels = blocks(1, 40, 40, edges=False)
        labels[..., 3, 3] = number
        with pytest.raises(RuntimeError, match=r"class numbers must be 0 to 39"):
            LabelConv2d(CLASSES, 4, 3)(LabelMap(labels, CLASSES))


def test_sums_over_many_pixels_keep_their_digits() -> None:
    labels = torch.zeros(1, 1, 600, 700)
    conv = LabelConv2d(CLASSES, 2, 3, padding=1)
    torch.manual_seed(0)
    grad = torch.rand(1, 2, 600, 700) + 0.5
    found = torch.autograd.grad(conv(LabelMap(labels, CLASSES)), conv.weight, grad)[0]
    exact = LabelConv2d(CLASSES, 2, 3, padding=1).double()
    output = exact(LabelMap(labels.double(), CLASSES))
    wanted = torch.autograd.grad(output, exact.weight, grad.double())[0]
    assert_near([found], [wanted.float()], 1e-6)


def test_gradients_in_bf16_are_added_up_in_float32() -> None:
    labels = blocks(1, 200, 200)
    hot, few = as_tensor_and_as_map(labels)
    net = stack()
    with torch.autocast("cpu", torch.bfloat16):
        wanted, found = run(net, hot), run(net, few)
    assert found.dtype == wanted.dtype == torch.bfloat16
    exact = run(net, hot)
    of_plain, of_windows, of_exact = (gradients(net, y) for y in (wanted, found, exact))
    for plain, ours, truth in zip(of_plain, of_windows, of_exact, strict=True):
        errors = [(grad - truth).norm() / truth.norm() for grad in (plain, ours)]
        assert errors[1] <= max(2 * errors[0], 0.01)


def test_maps_seen_in_inference_mode_can_be_learnt_from(ways) -> None:
    hot, labels = as_tensor_and_as_map(blocks(1))
    net = stack()
    with torch.inference_mode():
        tested = run(net, labels)
        LabelConv2d(CLASSES + 1, 3, 3)(labels.resized((30, 30)))  # as a tensor
    with torch.no_grad():
        assert torch.equal(run(net, labels), tested)
    assert_near(gradients(net, run(net, labels)), gradients(net, run(net, hot)))


def test_weights_may_have_a_spectral_norm() -> None:
    hot, labels = as_tensor_and_as_map(blocks(1))
    conv = spectral_norm(LabelConv2d(CLASSES + 1, 4, 3, padding=1)).eval()
    wanted, found = conv(hot), conv(labels)
    assert_near([found, *gradients(conv, found)], [wanted, *gradients(conv, wanted)])


NETS = {
    "spade": lambda: spade_networks.SPADEGenerator(CLASSES + 1, ngf=2, norm="instance"),
    "spade 5x5": lambda: spade_networks.SPADEGenerator(CLASSES + 1, 3, 2, "normal", "batch", 5),
    "global": lambda: pix2pixHD_networks.GlobalGenerator(CLASSES + 1, ngf=4, n_downs=2, n_blocks=1),
    "local": lambda: pix2pixHD_networks.LocalEnhancer(CLASSES + 1, ngf=4, n_downs=2, n_blocks=1),
}


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("name", NETS)
def test_generators_take_label_maps(ways, name: str, recompute: bool) -> None:
    labels = blocks(1, 64, 64).double()
    torch.manual_seed(0)
    net = NETS[name]().double().eval()
    net.recompute = recompute
    wanted, found = net(one_hot(labels, CLASSES)), net(LabelMap(labels, CLASSES))
    assert True in ways
    learnt = [p for p in net.parameters() if p.requires_grad]
    both = [torch.autograd.grad(y.square().sum(), learnt) for y in (found, wanted)]
    for some, of in zip((found, *both[0]), (wanted, *both[1]), strict=True):
        torch.testing.assert_close(some, of, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("num_D", [1, 3])
@pytest.mark.parametrize("family", [spade_networks, pix2pixHD_networks])
def test_discriminators_take_label_maps_beside_images(ways, family, num_D: int) -> None:
    torch.manual_seed(0)
    D = family.MultiscaleDiscriminator(CLASSES + 4, 4, num_D=num_D).double().eval()
    labels = blocks(2, 90, 97).double()
    hot, images = one_hot(labels, CLASSES), torch.randn(4, 3, 90, 97, dtype=torch.float64)
    wanted = D(torch.cat([hot.repeat(2, 1, 1, 1), images], 1))
    for semantics in (LabelMap(labels, CLASSES), hot):
        torch.testing.assert_close(D(images, semantics), wanted)
    assert ways == [True]


def test_traces_hold_for_other_labels() -> None:
    netG = spade_networks.SPADEGenerator(CLASSES, ngf=2, norm="instance").double().eval()
    net = FromLabels(netG, CLASSES)
    one, other = (blocks(n, 64, 64, edges=False)[:1].double() for n in (1, 2))
    assert not torch.equal(one, other)
    for traced in (torch.jit.trace(net, one), torch.export.export(net, (one,)).module()):
        torch.testing.assert_close(traced(other), net(other))


def test_few_maps_are_kept_as_numbers() -> None:
    labels = blocks(1)
    assert isinstance(semantic_map(labels, CLASSES), LabelMap)
    features = torch.cat([labels, torch.randn(1, 3, 45, 51)], 1)
    assert isinstance(semantic_map(features, CLASSES), Tensor)  # of instances: they learn
    assert semantic_map(features, 0) is features  # images
