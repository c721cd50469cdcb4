"""A small StyleGAN that grows, for tests: a run of one."""

from __future__ import annotations

from pathlib import Path

from facegan.data import DataConfig
from facegan.growth import Growth
from facegan.losses import StyleGAN2Loss
from facegan.networks.stylegan import StyleGANConfig
from facegan.run import Adam, Intervals, Run

SMALL = StyleGANConfig(resolution=16, z_dim=6, w_dim=6, mapping_layers=2, channel_base=64, channel_max=8)
# 4 px for 16 images, 8 px fades in for 16, is stable for 16, 16 px fades in for 16
GROWTH = Growth(first_resolution=4, stable_images=16, fade_images=16, batches=(8, 8, 4), lrs=(0.002, 0.001))


def growing_run(pictures: Path) -> Run:
    """80 images, of which the last 16 are at full size; R1 at every step, styles mixed."""
    return Run(
        model=SMALL,
        loss=StyleGAN2Loss(r1_gamma=10.0, r1_interval=1, path_length_weight=0.0, mixing_probability=0.9),
        data=DataConfig(str(pictures)),
        optimizer=Adam(lr=0.001, beta1=0.0, beta2=0.99),
        intervals=Intervals(log_images=8, sample_images=32, checkpoint_images=32),
        growth=GROWTH,
        batch=4,
        micro_batch=4,
        total_images=80,
        device="cpu",
        precision="fp32",
    )
