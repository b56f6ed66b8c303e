"""Activation functions that copy nothing in a training step compute the same bits, and are gone after it."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ftlab.models.execution.lean_activations import OutputReLU6, run_training_forward

EDGES = [-7.0, -0.0, 0.0, 1e-40, 1.0, 5.999999, 6.0, 6.000001, 100.0, float("inf"), -float("inf"), float("nan")]


def make_network(make_activation: Callable[[], nn.Module]) -> nn.Sequential:
    """Return a small network in training mode; its activations stand where those of MobileNetV2 do."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), make_activation(), nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8),
        make_activation(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2),
    )  # fmt: skip


def take_steps(network: nn.Module, call: Callable[[nn.Module, Tensor], Tensor], steps: int = 5) -> list[Tensor]:
    """Train for some steps; return the losses, then all parameters and buffers."""
    optimizer = torch.optim.SGD(network.parameters(), 0.5, momentum=0.9)
    images, labels = torch.randn(4, 3, 12, 12, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 1, 0])
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        losses.append(nn.functional.cross_entropy(call(network, 4 * images), labels))
        losses[-1].backward()
        optimizer.step()
    return [*(loss.detach() for loss in losses), *network.state_dict().values()]


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("activation", [nn.ReLU6, nn.ReLU, nn.SiLU, nn.Hardswish, nn.Mish])
def test_losses_weights_and_statistics_are_the_same_bits(activation: type[nn.Module], *, in_place: bool) -> None:
    own, lean = (make_network(lambda: activation(inplace=in_place)) for _ in range(2))
    expected = take_steps(own, lambda network, images: network(images))
    results = take_steps(lean, run_training_forward)
    assert all(torch.equal(*pair) for pair in zip(expected, results, strict=True))


@pytest.mark.parametrize("in_place", [True, False])
def test_gradient_passes_at_the_same_values_as_in_pytorchs_own(*, in_place: bool) -> None:
    gradients = []
    for function in (lambda x: nn.functional.relu6(x, inplace=in_place), lambda x: OutputReLU6.apply(x, in_place)):
        values = torch.tensor(EDGES, requires_grad=True)
        output = function(values.clone())
        output.backward(torch.arange(1.0, 1 + len(EDGES)))
        gradients.append((output.detach(), values.grad))
    assert all(torch.equal(a.nan_to_num(-1), b.nan_to_num(-1)) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("in_place", [True, False])
def test_gradient_is_that_of_differences_also_twice(*, in_place: bool) -> None:
    values = torch.tensor([[-3.0, 0.5, 2.0], [5.5, 6.5, 9.0]], dtype=torch.float64, requires_grad=True)

    def square(x: Tensor) -> Tensor:
        result: Tensor = OutputReLU6.apply(x * x.abs(), in_place)
        return result

    assert torch.autograd.gradcheck(square, (values,))
    assert torch.autograd.gradgradcheck(square, (values,))


def test_pass_keeps_one_tensor_where_pytorch_keeps_two() -> None:
    def count_saved_bytes(call: Callable[[nn.Module, Tensor], Tensor]) -> int:
        sizes = dict[int, int]()

        def note_size(tensor: Tensor) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        network = make_network(lambda: nn.ReLU6(inplace=True))
        with torch.autograd.graph.saved_tensors_hooks(note_size, lambda tensor: tensor):
            output = call(network, torch.randn(64, 3, 32, 32))
        assert output.requires_grad
        return sum(sizes.values())

    # PyTorch keeps a copy of the first activation's input, and the convolution behind it the output. The pooling behind
    # the second keeps nothing, so that there the output takes the place of the copy.
    copies = 4 * 64 * 8 * 30 * 30
    assert (
        count_saved_bytes(lambda network, images: network(images)) - count_saved_bytes(run_training_forward) == copies
    )


def test_modules_are_as_before_after_the_pass_also_after_an_error() -> None:
    network = make_network(lambda: nn.ReLU6(inplace=True))
    before = copy.deepcopy(network.state_dict()), [(name, type(child)) for name, child in network.named_modules()]
    run_training_forward(network.eval(), torch.randn(2, 3, 12, 12))
    with pytest.raises(RuntimeError, match="channels"):
        run_training_forward(network, torch.randn(2, 5, 12, 12))
    assert not any("forward" in vars(submodule) for submodule in network.modules())
    assert before[1] == [(name, type(child)) for name, child in network.named_modules()]
    assert all(torch.equal(before[0][name], tensor) for name, tensor in network.state_dict().items())


def test_hooks_see_each_activation_once_with_its_output() -> None:
    network, outputs = make_network(lambda: nn.ReLU6(inplace=True)), list[Tensor]()
    network[2].register_forward_hook(lambda _module, _inputs, output: outputs.append(output.detach().clone()))
    images = torch.randn(4, 3, 12, 12)
    network(images)
    run_training_forward(network, images)
    assert len(outputs) == 2
    assert torch.equal(*outputs)


def test_views_subclasses_and_own_forwards_keep_what_they_compute() -> None:
    class HalvedReLU6(nn.ReLU6):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs) / 2

    class Replaced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(3.0))
            self.on_view, self.subclass, self.replaced = nn.ReLU6(inplace=True), HalvedReLU6(), nn.ReLU6()
            self.replaced.forward = torch.neg  # type: ignore[method-assign]

        def forward(self, inputs: Tensor) -> Tensor:
            scaled = self.scale * inputs
            self.on_view(scaled[:1])
            output: Tensor = self.replaced(self.subclass(scaled))
            return output

    results = []
    for call in (lambda network, images: network(images), run_training_forward):
        network = Replaced()
        output = call(network, torch.linspace(-3, 3, 16).view(2, 2, 2, 2))
        output.square().sum().backward()
        assert network.replaced.forward is torch.neg
        results.append((output.detach(), network.scale.grad))
    assert all(torch.equal(*pair) for pair in zip(*results, strict=True))


@pytest.mark.parametrize(("shape", "autocast"), [((2, 3, 12, 12), True), ((2, 3), False)])
def test_reduced_precision_and_features_go_through_the_modules_own_functions(
    shape: tuple[int, ...], *, autocast: bool
) -> None:
    layer, forwards = nn.ReLU6(), list[bool]()
    layer.register_forward_hook(lambda module, _inputs, _output: forwards.append("forward" in vars(module)))
    with torch.autocast("cpu", enabled=autocast):
        run_training_forward(layer, torch.randn(shape))
    run_training_forward(layer, torch.randn(2, 3, 12, 12))
    assert forwards == [False, True]
