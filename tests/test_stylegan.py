"""StyleGAN against a slow reference in the paper's form, its growing, and the published parameter count."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from facegan.config import UsageError, to_json, union_from_json
from facegan.labels import Attribute, LabelSpace
from facegan.networks import NetworkConfig, build_discriminator, build_generator
from facegan.networks.base import Stage
from facegan.networks.stylegan import StyleGANConfig, StyleGANDiscriminator, StyleGANGenerator, blur, restyled

SHAPE: dict[str, Any] = {
    "resolution": 16, "z_dim": 7, "w_dim": 6, "mapping_layers": 2, "channel_base": 128, "channel_max": 12,
}  # fmt: skip
TWO = LabelSpace((Attribute("glasses", ("no", "yes")), Attribute("age", ("young", "adult", "old"))))
STAGES = [Stage(4), Stage(8, 0.3), Stage(8), Stage(16, 0.0), Stage(16, 0.7), Stage(16)]


def networks(**changes: Any) -> tuple[StyleGANGenerator, StyleGANDiscriminator]:
    """Small networks in which noise, biases and w_avg are not at their initial zeros."""
    torch.manual_seed(0)
    config = StyleGANConfig(**(SHAPE | changes))
    generator, discriminator = StyleGANGenerator(config), StyleGANDiscriminator(config)
    with torch.no_grad():
        for network in (generator, discriminator):
            for name, parameter in network.named_parameters():
                if "bias" in name or name.endswith(("noise_strength", "const")):
                    parameter.add_(0.3 * torch.randn_like(parameter))
        generator.w_avg.normal_()
    return generator.eval(), discriminator.eval()


# ---- the slow reference: neighbours repeated, means of slices, every gain where the paper has it


def lrelu(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.2 * x)


def dense(layer: Any, x: Tensor, *, gain: float = 1.0, lr_multiplier: float = 1.0) -> Tensor:
    weight = layer.weight * gain * lr_multiplier / math.sqrt(layer.weight.shape[1])
    return x @ weight.t() + layer.bias * lr_multiplier


def convolved(weight: Tensor, x: Tensor, gain: float = math.sqrt(2)) -> Tensor:
    inputs, size = weight.shape[1:3]
    return F.conv2d(x, weight * gain / math.sqrt(inputs * size * size), padding=size // 2)


def twice(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def half(x: Tensor) -> Tensor:
    return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 4


def blurred(x: Tensor) -> Tensor:
    line = torch.tensor([1.0, 2.0, 1.0])
    kernel = (torch.outer(line, line) / 16).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(x, kernel, padding=1, groups=x.shape[1])


def styled(layer: Any, x: Tensor, w: Tensor) -> Tensor:
    x = lrelu(x + layer.noise_const * layer.noise_strength[:, None, None] + layer.bias[:, None, None])
    mean = x.mean(dim=(2, 3), keepdim=True)
    x = (x - mean) / ((x - mean).square().mean(dim=(2, 3), keepdim=True) + 1e-8).sqrt()
    style = dense(layer.affine, w)
    scale, shift = style[:, : x.shape[1], None, None], style[:, x.shape[1] :, None, None]
    return x * (1 + scale) + shift


def reference_synthesis(generator: StyleGANGenerator, ws: Tensor, stage: Stage) -> Tensor:
    pictures: dict[int, Tensor] = {}
    x = torch.empty(0)
    for number, resolution in enumerate(r for r in (4, 8, 16) if r <= stage.resolution):
        block: Any = generator.net[f"b{resolution}"]
        if resolution == 4:
            x = block.const.expand(len(ws), -1, -1, -1)
        else:
            x = blurred(convolved(block.conv0.weight, twice(x)))
        x = styled(block.style0, x, ws[:, 2 * number])
        x = styled(block.style1, convolved(block.conv1.weight, x), ws[:, 2 * number + 1])
        pictures[resolution] = convolved(block.torgb.weight, x, 1.0) + block.rgb_bias[:, None, None]
    last = pictures[stage.resolution]
    if stage.alpha == 1:
        return last
    return stage.alpha * last + (1 - stage.alpha) * twice(pictures[stage.resolution // 2])


def from_rgb(layer: Any, image: Tensor) -> Tensor:
    return lrelu(convolved(layer.weight, image) + math.sqrt(2) * layer.bias[:, None, None])


def reference_discriminator(discriminator: StyleGANDiscriminator, image: Tensor, stage: Stage) -> Tensor:
    x = from_rgb(discriminator.net[f"b{stage.resolution}"].fromrgb, image)
    for resolution in (r for r in (16, 8) if r <= stage.resolution):
        block: Any = discriminator.net[f"b{resolution}"]
        x = lrelu(convolved(block.conv0.weight, x) + block.bias0[:, None, None])
        x = lrelu(half(convolved(block.conv1.weight, blurred(x))) + block.bias1[:, None, None])
        if resolution == stage.resolution and stage.alpha < 1:
            below = from_rgb(discriminator.net[f"b{resolution // 2}"].fromrgb, half(image))
            x = stage.alpha * x + (1 - stage.alpha) * below
    last: Any = discriminator.net["b4"]
    groups = x.reshape(4, len(x) // 4, *x.shape[1:])
    deviation = (groups - groups.mean(dim=0)).square().mean(dim=0).add(1e-8).sqrt().mean(dim=(1, 2, 3))
    channel = deviation.repeat(4).reshape(-1, 1, 1, 1).expand(-1, 1, *x.shape[2:])
    x = lrelu(convolved(last.conv.weight, torch.cat([x, channel], dim=1)) + last.bias[:, None, None])
    hidden = dense(last.fc, x.flatten(1), gain=math.sqrt(2)) + (math.sqrt(2) - 1) * last.fc.bias
    return dense(last.out, lrelu(hidden))


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize("stage", STAGES, ids=str)
@pytest.mark.parametrize("base", [(4, 4), (5, 4)])
def test_both_networks_equal_the_slow_reference(stage: Stage, base: tuple[int, int]) -> None:
    generator, discriminator = networks(base=base)
    size = [side * stage.resolution // 4 for side in base]
    ws, image = torch.randn(3, generator.num_ws, 6), torch.randn(8, 3, *size)
    with torch.no_grad():
        made = generator.synthesis(ws, stage=stage)
        assert made.shape == (3, 3, *size)
        assert relative(made, reference_synthesis(generator, ws, stage)) < 1e-5
        expected = reference_discriminator(discriminator, image, stage)[:, 0]
        assert relative(discriminator(image, stage=stage), expected) < 1e-5


def test_the_blur_s_filter_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CUDA device making it waits for a copy, which a captured graph cannot hold."""
    x = torch.randn(2, 3, 5, 6, requires_grad=True)
    expected = blurred(x)
    with torch.inference_mode():
        blur(x)
    monkeypatch.setattr(torch, "tensor", None)
    again = blur(x)
    assert torch.allclose(again, expected, atol=1e-6)
    again.sum().backward()


def test_the_written_out_gradient_of_adain_is_the_formula_s() -> None:
    """First and second derivatives at maps, scales and shifts, against autograd through the plain formula."""
    torch.manual_seed(0)
    shapes = ((3, 4, 5, 6), (3, 4, 1, 1), (3, 4, 1, 1))
    inputs = [(torch.randn(shape) + 0.5).requires_grad_() for shape in shapes]
    weight = torch.randn(shapes[0])

    def plain(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        deviation = (x.var(dim=(2, 3), correction=0, keepdim=True) + 1e-8).sqrt()
        return scale * (x - x.mean(dim=(2, 3), keepdim=True)) / deviation + shift

    results = []
    for function in (restyled, plain):
        slopes = torch.autograd.grad((function(*inputs) * weight).sum(), inputs, create_graph=True)
        curves = torch.autograd.grad(slopes[0].square().sum() + slopes[1].pow(3).sum(), inputs[:2])
        results.append((function(*inputs), *slopes, *curves))
    for ours, expected in zip(*results, strict=True):
        assert relative(ours.detach(), expected.detach()) < 1e-5


def test_the_mapping_normalises_z_and_learns_slowly() -> None:
    generator, _ = networks()
    z = torch.randn(3, generator.z_dim)
    x = z / (z.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
    for layer in generator.map.children():
        bias = 0.01 * (math.sqrt(2) - 1) * layer.bias
        x = lrelu(dense(layer, x, gain=math.sqrt(2), lr_multiplier=0.01) + bias)
    w = generator.mapping(z)
    assert w.shape == (3, 6, 6)
    assert torch.allclose(w, x[:, None].expand_as(w), atol=1e-6)


def test_a_label_s_logits_are_added() -> None:
    generator, discriminator = networks(labels=TWO)
    label, image = torch.from_numpy(TWO.drawn({}, range(8))), torch.randn(8, 3, 16, 16)
    with torch.no_grad():
        logits = reference_discriminator(discriminator, image, Stage(16))
        assert logits.shape == (8, 1 + 5)
        expected = logits[:, 0] + (logits[:, 1:] * label).sum(dim=1)
        assert relative(discriminator(image, label), expected) < 1e-5
    assert generator.mapping(torch.randn(8, 7), label).shape == (8, 6, 6)


# ---- growing


def test_not_faded_in_at_all_is_the_network_below() -> None:
    """alpha 0 is the one below, doubled; a full stage is the next test's."""
    generator, discriminator = networks()
    ws, image = torch.randn(3, 6, 6), torch.randn(8, 3, 16, 16)
    with torch.no_grad():
        faded = generator.synthesis(ws, stage=Stage(16, 0.0))
        assert torch.equal(faded, twice(generator.synthesis(ws, stage=Stage(8))))
        below = discriminator(half(image), stage=Stage(8))
        assert torch.allclose(discriminator(image, stage=Stage(16, 0.0)), below, atol=1e-6)


@pytest.mark.parametrize("stage", [Stage(8), Stage(8, 0.5)], ids=str)
def test_a_grown_network_is_the_larger_one_s_inner_part(stage: Stage) -> None:
    """A model saved while it grows has the blocks so far, and its config says how far it has faded."""
    config = StyleGANConfig(**(SHAPE | {"resolution": 8, "alpha": stage.alpha}))
    ws, image = torch.randn(3, 6, 6), torch.randn(4, 3, 8, 8)
    large, small = networks(), (StyleGANGenerator(config), StyleGANDiscriminator(config))
    for outer, inner in zip(large, small, strict=True):
        inner.load_state_dict({name: outer.state_dict()[name] for name in inner.state_dict()})
    with torch.no_grad():
        assert torch.equal(small[0].synthesis(ws[:, :4]), large[0].synthesis(ws, stage=stage))
        assert torch.equal(small[1](image), large[1](image, stage=stage))


def test_a_stage_has_two_layers_for_each_of_its_resolutions() -> None:
    generator, _ = networks()
    stages = Stage(4), Stage(8, 0.5), Stage(16), None
    assert [generator.layers_at(stage) for stage in stages] == [2, 4, 6, 6]


def test_a_stage_that_is_not_there_is_named() -> None:
    generator, discriminator = networks()
    for call in (
        lambda: generator.synthesis(torch.randn(1, 6, 6), stage=Stage(32)),
        lambda: discriminator(torch.randn(4, 3, 32, 32), stage=Stage(32)),
    ):
        with pytest.raises(ValueError, match="stage of 32 pixels: this network has 4"):
            call()


@pytest.mark.parametrize("stage", STAGES, ids=str)
def test_weights_of_levels_not_yet_reached_get_no_gradient(stage: Stage) -> None:
    generator, discriminator = networks()
    w = generator.mapping(torch.randn(4, 7))
    F.softplus(-discriminator(generator.synthesis(w, "random", stage), stage=stage)).sum().backward()
    levels = {stage.resolution, stage.resolution // 2 if stage.alpha < 1 else stage.resolution}
    for network, rgb in ((generator, ("torgb", "rgb_bias")), (discriminator, ("fromrgb",))):
        for name, parameter in network.named_parameters():
            inside = "net" not in name or int(name.split(".")[1][1:]) <= stage.resolution
            is_rgb = name.split(".")[-2] in rgb or name.split(".")[-1] in rgb
            reached = int(name.split(".")[1][1:]) in levels if is_rgb else inside
            if stage.alpha > 0:  # at 0 the new block's gradient is there, and 0
                assert (parameter.grad is not None and bool(parameter.grad.any())) == reached, name


def test_both_networks_can_be_differentiated_twice() -> None:
    generator, discriminator = networks()
    for stage in (Stage(16), Stage(16, 0.5)):
        image = torch.randn(4, 3, 16, 16, requires_grad=True)
        logits = discriminator(image, stage=stage)
        (gradient,) = torch.autograd.grad(logits.sum(), image, create_graph=True)
        gradient.square().sum().backward()
        assert discriminator.net["b16"].conv0.weight.grad.isfinite().all()  # type: ignore[union-attr]
    w = generator.mapping(torch.randn(2, 7))
    (slope,) = torch.autograd.grad(generator.synthesis(w).square().sum(), w, create_graph=True)
    slope.square().sum().backward()
    assert generator.net["b16"].conv0.weight.grad.isfinite().all()  # type: ignore[union-attr]


def test_noise_is_constant_none_given_or_random() -> None:
    generator, _ = networks()
    w = generator.mapping(torch.randn(2, generator.z_dim))
    with torch.no_grad():
        const, none = generator.synthesis(w), generator.synthesis(w, "none")
        assert not torch.allclose(const, none)
        assert torch.equal(const, generator.synthesis(w, "const"))
        assert not torch.equal(generator.synthesis(w, "random"), generator.synthesis(w, "random"))
        zeros = [torch.zeros(2, *shape) for shape in generator.noise_shapes()]
        assert torch.allclose(generator.synthesis(w, zeros), none, atol=1e-6)
    assert generator.noise_shapes() == [(1, r, r) for r in (4, 4, 8, 8, 16, 16)]


def test_bfloat16_convolutions_stay_close_to_float32() -> None:
    generator, discriminator = networks()
    z, image = torch.randn(4, generator.z_dim), torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        exact = generator(z), discriminator(image)
        generator.compute_dtype = discriminator.compute_dtype = torch.bfloat16
        rough = generator(z), discriminator(image)
    for a, b in zip(rough, exact, strict=True):
        assert a.dtype == torch.float32
        assert relative(a, b) < 0.05  # 8 bits of mantissa through six layers


@pytest.mark.slow
def test_at_1024_px_g_has_the_published_number_of_parameters() -> None:
    """26.2 M (Karras et al. 2019, table 1's networks; mapping and synthesis)."""
    generator = StyleGANGenerator(StyleGANConfig(resolution=1024))
    assert sum(parameter.numel() for parameter in generator.parameters()) / 1e6 == pytest.approx(
        26.2, abs=0.05
    )


def test_config_makes_a_json_round_trip_and_builds_its_networks() -> None:
    config = StyleGANConfig(**SHAPE, base=(5, 4), labels=TWO, alpha=0.5)
    assert union_from_json(NetworkConfig, to_json(config), "config") == config
    assert isinstance(build_generator(config), StyleGANGenerator)
    assert isinstance(build_discriminator(config), StyleGANDiscriminator)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"resolution": 48}, "48: one of 4, 8"),
        ({"channels": 2}, "channels 2"),
        ({"w_dim": 0}, "w_dim 0: 1 to 1024"),
        ({"channel_base": 8}, "channel_base 8: at least the resolution"),
        ({"alpha": 1.5}, r"alpha 1\.5: 0 to 1"),
    ],
)
def test_impossible_shapes_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        StyleGANConfig(**(SHAPE | changes))
