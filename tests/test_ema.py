"""The running mean of G's weights, and BatchNorm statistics that belong to it."""

from __future__ import annotations

import copy

import pytest
import torch

from facegan.labels import LabelSpace
from facegan.networks.dcgan import DCGANConfig, DCGANGenerator
from facegan.run import Ema
from facegan.training.ema import CALIBRATION_IMAGES, calibrated, ema_beta, update_ema


@pytest.mark.parametrize(
    ("ema", "batch", "images_seen", "expected"),
    [
        (Ema(1000.0, 0.0), 1000, 0, 0.5),  # one half-life a step
        (Ema(1000.0, 0.0), 500, 0, 0.5**0.5),
        (Ema(1000.0, 0.05), 100, 10_000, 0.5 ** (100 / 500)),  # ramp-up: 5 % of 10,000
        (Ema(1000.0, 0.05), 100, 1_000_000, 0.5**0.1),  # ramp-up is over
        (Ema(1000.0, 0.05), 100, 0, 0.0),
    ],
)
def test_ema_beta_is_a_function_of_images_seen(
    ema: Ema, batch: int, images_seen: int, expected: float
) -> None:
    assert ema_beta(ema, batch, images_seen) == pytest.approx(expected)


def test_update_ema_lerps_parameters_and_copies_buffers() -> None:
    config = DCGANConfig(resolution=8, z_dim=4, g_base_channels=2)
    average, current = DCGANGenerator(config), DCGANGenerator(config)
    before = copy.deepcopy(average)
    current(torch.randn(4, 4))  # moves the running statistics
    update_ema(average, current, 0.75)
    for old, new, got in zip(before.parameters(), current.parameters(), average.parameters(), strict=True):
        torch.testing.assert_close(got, 0.75 * old + 0.25 * new)
    for expected, got in zip(current.buffers(), average.buffers(), strict=True):
        assert torch.equal(got, expected)


def test_calibration_gives_every_norm_the_statistics_of_the_average_weights() -> None:
    """What a norm in train mode sees of many other latents is what calibration wrote down, layer by layer."""
    torch.manual_seed(0)
    generator = DCGANGenerator(DCGANConfig(resolution=16, z_dim=4, g_base_channels=2))
    for _ in range(5):  # running statistics of something else, which must not show
        generator(torch.full((16, 4), 9.0) + torch.randn(16, 4))
    generator.compute_dtype = torch.bfloat16
    measured = calibrated(generator, 0, LabelSpace())
    generator.compute_dtype = torch.float32
    x = torch.randn(CALIBRATION_IMAGES * 8, 4)[:, :, None, None]
    for layer, norm, got in zip(
        [generator.first, *generator.ups], generator.norms, measured.norms, strict=True
    ):
        activations = layer(x)
        assert isinstance(got, torch.nn.BatchNorm2d)
        assert got.running_var is not None
        # 2,048 images: the standard error of a variance is about 2 %
        torch.testing.assert_close(got.running_var, activations.var(dim=(0, 2, 3)), rtol=0.15, atol=0)
        x = torch.relu(norm.train()(activations))
    assert not measured.training
    assert measured.compute_dtype == torch.float32


def test_calibration_leaves_the_average_itself_alone() -> None:
    generator = DCGANGenerator(DCGANConfig(resolution=8, z_dim=4, g_base_channels=2))
    before = copy.deepcopy(generator.state_dict())
    calibrated(generator, 0, LabelSpace())
    assert all(torch.equal(before[name], tensor) for name, tensor in generator.state_dict().items())
