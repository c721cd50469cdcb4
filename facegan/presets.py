"""The table of presets: runs with a name, a source, a cost, and what to expect of them.

`facegan train --preset P --set a.b=c` changes single values of a preset's run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from facegan.augment import FACE_SAFE, Augment, NoAugment
from facegan.config import choose
from facegan.growth import Growth
from facegan.losses import Loss, StyleGAN2Loss, WassersteinGP
from facegan.networks.dcgan import DCGANConfig
from facegan.networks.stylegan import StyleGANConfig
from facegan.networks.stylegan2 import StyleGAN2Config
from facegan.run import Adam, Ema, Run


@dataclass(frozen=True)
class Preset:
    """A run with a name: what it is, where it comes from, what it costs, what it gives."""

    run: Run
    what: str
    source: str
    cost: str


_DCGAN = "Radford et al. 2015, arXiv 1511.06434, in the 4x4-kernel form"


def _dcgan(resolution: int, total_images: int) -> Run:
    return Run(
        model=DCGANConfig(resolution=resolution), ema=Ema(halflife_images=20_000), total_images=total_images
    )


_ADA = "Karras et al. 2020, arXiv 2006.06676"
_STYLEGAN2 = "Karras et al. 2020, arXiv 1912.04958"


def _stylegan2(
    model: StyleGAN2Config, *, batch: int, lr: float, gamma: float, ema_images: float, rampup: float,
    total_images: int, path_length: bool = False, mixing: float = 0.9,
) -> Run:  # fmt: skip
    return Run(
        model=model,
        loss=StyleGAN2Loss(
            r1_gamma=gamma, path_length_weight=2.0 if path_length else 0.0, mixing_probability=mixing
        ),
        optimizer=Adam(lr=lr, beta1=0.0, beta2=0.99),
        ema=Ema(halflife_images=ema_images, rampup=rampup),
        batch=batch,
        micro_batch=batch,
        total_images=total_images,
    )


def _auto(model: StyleGAN2Config, batch: int) -> Run:
    """StyleGAN2-ADA's `auto` rule for gamma, 0.0002 resolution^2 / batch, lr and EMA; no path length."""
    return _stylegan2(
        model,
        batch=batch,
        lr=0.0025,
        gamma=0.0002 * model.resolution**2 / batch,
        ema_images=batch * 10_000 / 32,
        rampup=0.05,
        total_images=25_000_000,
    )


def _paper(model: StyleGAN2Config, batch: int, gamma: float) -> Run:
    """The published configurations: StyleGAN2's with batch 32, StyleGAN2-ADA's for 256 and 512 px with 64."""
    return _stylegan2(
        model,
        batch=batch,
        lr=0.0025 if batch == 64 else 0.002,
        gamma=gamma,
        ema_images=20_000 if batch == 64 else 10_000,
        rampup=0.0,
        total_images=25_000_000,
        path_length=True,
    )


_TINY = StyleGAN2Config(
    resolution=64, z_dim=128, w_dim=128, mapping_layers=2, channel_base=1024, channel_max=128
)

_SMALL = replace(_TINY, channel_base=2048)

_STYLEGAN_64 = StyleGANConfig(
    resolution=64, z_dim=128, w_dim=128, mapping_layers=4, channel_base=1024, channel_max=128
)
_STYLEGAN_128 = StyleGANConfig(
    resolution=128, z_dim=256, w_dim=256, mapping_layers=4, channel_base=4096, channel_max=128
)

_QUARTER = StyleGAN2Config(resolution=64, mapping_layers=2, channel_base=4096, channel_max=256)
_HALF = StyleGAN2Config(resolution=128, mapping_layers=2, channel_base=8192, channel_max=256)


_ADA_256 = StyleGAN2Config(resolution=256, minibatch_std_group=8, conv_clamp=256.0)


def _narrow(
    model: StyleGAN2Config,
    *,
    gamma: float,
    total_images: int,
    augment: Augment | None = None,
    growth: Growth | None = None,
) -> Run:
    run = _stylegan2(
        model,
        batch=32,
        lr=0.0025,
        gamma=gamma,
        ema_images=10_000,
        rampup=0.05,
        total_images=total_images,
        mixing=0.5,
    )
    return replace(
        run, model=replace(model, grows=growth is not None), augment=augment or NoAugment(), growth=growth
    )


def _wide(resolution: int, group: int, clamp: float | None = 256.0) -> StyleGAN2Config:
    return StyleGAN2Config(
        resolution=resolution, channel_base=32_768, minibatch_std_group=group, conv_clamp=clamp
    )


_GROWTH_64 = Growth(stable_images=40_000, fade_images=20_000)

_STYLEGAN = "Karras et al. 2019, arXiv 1812.04948"
_PUBLISHED_GROWTH = Growth(  # with 8 GPUs
    batches=(256, 128, 64, 32), lrs=(0.001, 0.001, 0.001, 0.001, 0.0015, 0.002, 0.003)
)


def _stylegan_short(model: StyleGANConfig, *, gamma: float, level_images: int, total_images: int) -> Run:
    """For a laptop's processor: lazy R1, and so many images at each level and in each fade."""
    return Run(
        model=model,
        loss=StyleGAN2Loss(r1_gamma=gamma, path_length_weight=0.0, mixing_probability=0.5),
        optimizer=Adam(lr=0.002, beta1=0.0, beta2=0.99),
        ema=Ema(halflife_images=10_000, rampup=0.05),
        growth=Growth(stable_images=level_images, fade_images=level_images),
        batch=32,
        micro_batch=32,
        total_images=total_images,
    )


def _stylegan_published(loss: Loss, growth: Growth, total_images: int) -> Run:
    return Run(
        model=StyleGANConfig(resolution=1024),
        loss=loss,
        optimizer=Adam(lr=growth.lrs[-1], beta1=0.0, beta2=0.99),
        ema=Ema(halflife_images=10_000, rampup=0.0),
        growth=growth,
        batch=32,
        micro_batch=32,
        total_images=total_images,
    )


PRESETS: dict[str, Preset] = {
    "dcgan-32": Preset(_dcgan(32, 500_000), "DCGAN at 32 px", _DCGAN, "G 1.1 M, D 0.7 M parameters"),
    "dcgan-64": Preset(_dcgan(64, 1_000_000), "DCGAN at 64 px", _DCGAN, "G 3.6 M, D 2.8 M parameters"),
    "dcgan-128": Preset(_dcgan(128, 1_500_000), "DCGAN at 128 px", _DCGAN, "G 12.8 M, D 11.2 M parameters"),
    "stylegan-64": Preset(
        _stylegan_short(_STYLEGAN_64, gamma=0.1, level_images=30_000, total_images=600_000),
        "StyleGAN that grows from 8 to 64 px, for a laptop's processor: narrow",
        _STYLEGAN,
        "G 0.85 M, D 0.85 M parameters",
    ),
    "stylegan-128": Preset(
        _stylegan_short(_STYLEGAN_128, gamma=1.0, level_images=60_000, total_images=800_000),
        "StyleGAN that grows from 8 to 128 px: narrow",
        _STYLEGAN,
        "G 2.1 M, D 1.4 M parameters",
    ),
    "stylegan-ffhq-1024": Preset(
        _stylegan_published(
            StyleGAN2Loss(r1_gamma=10.0, r1_interval=1, path_length_weight=0.0),
            _PUBLISHED_GROWTH,
            25_000_000,
        ),
        "as published for FFHQ: R1 at every step, growing from 8 to 1024 px",
        _STYLEGAN,
        "G 26.2 M, D 23.1 M parameters; 6 days 14 hours on 8 V100",
    ),
    "stylegan-celebahq-1024": Preset(
        _stylegan_published(
            WassersteinGP(mixing_probability=0.9),
            replace(_PUBLISHED_GROWTH, lrs=(0.001, 0.001, 0.001, 0.001, 0.0015, 0.002)),
            25_000_000,
        ),
        "as published for CelebA-HQ: WGAN-GP, growing from 8 to 1024 px",
        _STYLEGAN,
        "G 26.2 M, D 23.1 M parameters",
    ),
    "stylegan2-64-tiny": Preset(
        _narrow(_TINY, gamma=0.1, total_images=600_000, growth=_GROWTH_64),
        "StyleGAN2 that grows from 8 to 64 px, for a laptop's processor: narrow, without path length",
        _ADA,
        "G 0.76 M, D 0.88 M parameters",
    ),
    "stylegan2-64-small": Preset(
        _narrow(_SMALL, gamma=0.1, total_images=600_000, growth=_GROWTH_64),
        "the same, twice as wide from 16 px on: finer hair, edges and grain for 1.7 times the work",
        _ADA,
        "G 1.1 M, D 1.2 M parameters",
    ),
    "low-data": Preset(
        _narrow(_TINY, gamma=0.2, total_images=200_000, augment=replace(FACE_SAFE, full_images=100_000)),
        "the tiny one for 100 to 5,000 pictures: augmentation that suits faces, twice the R1, not grown",
        _ADA,
        "G 0.76 M, D 0.88 M parameters",
    ),
    "stylegan2-64": Preset(
        _auto(_QUARTER, 32),
        "StyleGAN2 at 64 px, a quarter as wide as published",
        _ADA,
        "G 5.5 M, D 4.7 M parameters",
    ),
    "stylegan2-128": Preset(
        _auto(_HALF, 32),
        "StyleGAN2 at 128 px, half as wide as published",
        _ADA,
        "G 7.1 M, D 6.0 M parameters",
    ),
    "stylegan2-ffhq-256": Preset(
        _paper(_ADA_256, 64, 1.0),
        "paper256, as published for FFHQ",
        _ADA,
        "G 24.8 M, D 24.0 M parameters",
    ),
    "stylegan2-ffhq-512": Preset(
        _paper(_wide(512, 8), 64, 0.5), "paper512", _ADA, "G 30.3 M, D 29.0 M parameters"
    ),
    "stylegan2-ffhq-1024": Preset(
        _paper(_wide(1024, 4), 32, 2.0), "paper1024", _ADA, "G 30.4 M, D 29.0 M parameters"
    ),
    "stylegan2-config-f": Preset(
        _paper(_wide(1024, 4, clamp=None), 32, 10.0),
        "config F of the StyleGAN2 paper, 1024 px",
        _STYLEGAN2,
        "G 30.4 M, D 29.0 M parameters; 9 days 18 hours on 8 V100 in the paper",
    ),
}


def preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UsageError: there is none; the message names the nearest.
    """
    return PRESETS[choose("preset", name, PRESETS)]
