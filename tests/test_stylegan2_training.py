"""StyleGAN2's training: its penalties against closed forms, lazy phases, mixing, and exact resume."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from small_stylegan2 import small_run
from states import differing
from torch import Tensor, nn

from facegan.config import UsageError
from facegan.data import Dataset, open_dataset
from facegan.losses import Kind, StyleGAN2Loss, lazy_interval, path_lengths, squared_gradient
from facegan.networks.stylegan2 import StyleGAN2Config, StyleGAN2Discriminator, StyleGAN2Generator
from facegan.run import Adam, Run
from facegan.training.batch import TrainingBatch, rows
from facegan.training.state import TrainState, new_state
from facegan.training.step import train_step


@dataclass
class StubBatch:
    """A micro-batch around any D; `made` is what path() gives."""

    real: Tensor
    discriminator: nn.Module
    made: tuple[Tensor, Tensor, Tensor] | None = None
    memory: dict[str, Tensor] = field(default_factory=dict)

    def fake(self) -> Tensor:
        return self.real * 0.5

    def logits(self, image: Tensor, of: Kind, *, twice: bool = False) -> Tensor:
        logits: Tensor = self.discriminator(image)
        return logits

    def uniform(self) -> Tensor:
        return torch.zeros(len(self.real))

    def path(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        assert self.made is not None
        return self.made

    def recall(self, name: str) -> Tensor:
        return self.memory.get(name, torch.zeros([]))

    def remember(self, name: str, value: Tensor) -> None:
        self.memory[name] = value


class Quadratic(nn.Module):
    """D(x) = a/2 |x|^2, whose gradient at x is a x."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(slope))

    def forward(self, image: Tensor) -> Tensor:
        return self.slope / 2 * image.square().sum(dim=(1, 2, 3))


@pytest.fixture
def run(picture_folder: Path) -> Run:
    return small_run(picture_folder)


@pytest.fixture
def dataset(run: Run) -> Dataset:
    return open_dataset(run.data, resolution=8, channels=3)


def steps(state: TrainState, run: Run, dataset: Dataset, count: int) -> dict[str, Tensor]:
    terms: dict[str, Tensor] = {}
    for _ in range(count):
        terms = train_step(state, run, dataset, run.loss.phases())
    return terms


# ---- penalties


def test_r1_is_half_gamma_times_the_squared_gradient_times_its_interval() -> None:
    real = torch.randn(3, 2, 4, 4)
    batch = StubBatch(real, Quadratic(0.7))
    expected = 0.7**2 * real.square().sum(dim=(1, 2, 3))
    assert torch.allclose(squared_gradient(batch, "real"), expected, rtol=1e-5)
    loss = StyleGAN2Loss(r1_gamma=3.0, r1_interval=16, r2_gamma=2.0)
    terms = loss.d_penalty(batch)
    assert torch.allclose(terms["D_r1"], 16 * 3.0 / 2 * expected, rtol=1e-5)
    assert torch.allclose(
        terms["D_r2"], 16 * 2.0 / 2 * expected * 0.25, rtol=1e-5
    )  # fakes are half the reals


def test_r1_has_the_gradient_of_its_formula() -> None:
    real, discriminator = torch.randn(3, 2, 4, 4), Quadratic(0.7)
    squared_gradient(StubBatch(real, discriminator), "real").sum().backward()
    assert discriminator.slope.grad is not None
    assert discriminator.slope.grad.item() == pytest.approx(2 * 0.7 * real.square().sum().item(), rel=1e-5)


def test_path_length_of_a_linear_generator_is_the_length_of_its_jacobians_product() -> None:
    w = torch.randn(3, 2, 5, requires_grad=True)  # [n, L, W]
    matrix = torch.randn(2, 5, 1 * 4 * 4)
    image = torch.einsum("nlw,lwp->np", w, matrix).view(3, 1, 4, 4)
    noise = torch.randn(3, 1, 4, 4)
    product = torch.einsum("lwp,np->nlw", matrix, noise.flatten(1)) / 4  # sqrt(16 pixels)
    expected = product.square().sum(dim=2).mean(dim=1).sqrt()
    assert torch.allclose(path_lengths(w, image, noise), expected, rtol=1e-5)


def test_the_path_length_penalty_is_the_squared_distance_from_the_running_mean() -> None:
    w = torch.randn(3, 1, 5, requires_grad=True)
    image = (w.flatten(1) @ torch.randn(5, 16)).view(3, 1, 4, 4)
    noise = torch.randn(3, 1, 4, 4)
    lengths = path_lengths(w, image, noise)
    batch = StubBatch(
        torch.randn(6, 1, 4, 4), Quadratic(1.0), (w, image, noise), {"path_length": torch.tensor(2.0)}
    )
    loss = StyleGAN2Loss(path_length_weight=3.0, path_length_interval=4, path_length_decay=0.25)
    mean = 2.0 + 0.25 * (lengths.mean() - 2.0)
    assert torch.allclose(loss.g_penalty(batch)["G_path"], 4 * 3.0 * (lengths - mean).square(), rtol=1e-5)
    assert torch.allclose(batch.memory["path_length"], mean)


def cosine(a: list[Tensor], b: list[Tensor]) -> float:
    left, right = (torch.cat([x.flatten() for x in tensors]) for tensors in (a, b))
    return float(torch.cosine_similarity(left, right, dim=0))


def test_penalties_in_bfloat16_have_the_gradient_of_float32() -> None:
    torch.manual_seed(0)
    config = StyleGAN2Config(
        resolution=16, z_dim=32, w_dim=32, mapping_layers=2, channel_base=512, channel_max=32
    )
    generator, discriminator = StyleGAN2Generator(config), StyleGAN2Discriminator(config)
    real, noise = torch.rand(32, 3, 16, 16) * 2 - 1, torch.randn(32, 3, 16, 16)  # rounding averages out
    z = torch.randn(32, 32)
    found: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        generator.compute_dtype = discriminator.compute_dtype = dtype
        parameters = [p for n, p in discriminator.named_parameters() if n != "b4.out.bias"]
        penalty = squared_gradient(StubBatch(real, discriminator), "real").mean()
        d_gradients = torch.autograd.grad(penalty, parameters, allow_unused=True)
        w = generator.mapping(z)
        lengths = path_lengths(w, generator.synthesis(w, "none"), noise)
        inner = [p for n, p in generator.named_parameters() if n.endswith("conv.weight")]
        g_gradients = torch.autograd.grad(lengths.square().mean(), inner)
        found[dtype] = [g for g in d_gradients if g is not None], list(g_gradients)
    for number in range(2):
        assert cosine(found[torch.float32][number], found[torch.bfloat16][number]) > 0.999


# ---- phases


def test_phases_come_in_order_and_only_where_they_have_a_weight() -> None:
    def shape(loss: StyleGAN2Loss) -> list[tuple[str, int]]:
        return [(phase.player, phase.every) for phase in loss.phases()]

    assert shape(StyleGAN2Loss()) == [("D", 1), ("D", 16), ("G", 1), ("G", 4)]
    assert shape(StyleGAN2Loss(r1_gamma=0)) == [("D", 1), ("G", 1), ("G", 4)]
    assert shape(StyleGAN2Loss(path_length_weight=0)) == [("D", 1), ("D", 16), ("G", 1)]
    assert shape(StyleGAN2Loss(r1_interval=1, path_length_interval=1)) == [("D", 1), ("G", 1)]


def test_an_interval_of_one_takes_the_penalties_with_the_main_terms(run: Run, dataset: Dataset) -> None:
    run = replace(run, loss=StyleGAN2Loss(r1_interval=1, path_length_interval=1))
    terms = steps(new_state(run), run, dataset, 1)
    assert set(terms) == {"D_real", "D_fake", "D_r1", "G_fake", "G_path"}


def test_a_relativistic_step_has_terms_of_pairs(run: Run, dataset: Dataset) -> None:
    loss = StyleGAN2Loss(relativistic=True, r2_gamma=1.0, r1_interval=1, path_length_weight=0)
    terms = steps(new_state(run), replace(run, loss=loss), dataset, 1)
    assert set(terms) == {"D_pair", "D_r1", "D_r2", "G_pair"}


def test_lazy_terms_appear_every_so_many_steps(run: Run, dataset: Dataset) -> None:
    state = new_state(run)
    seen = [set(steps(state, run, dataset, 1)) for _ in range(4)]
    assert [("D_r1" in terms, "G_path" in terms) for terms in seen] == [(True, True), (False, False)] * 2


def test_adam_is_slowed_by_the_share_of_lazy_steps(run: Run) -> None:
    run = replace(
        run, loss=StyleGAN2Loss(r1_interval=16, path_length_interval=4), optimizer=Adam(0.002, 0.5, 0.99)
    )
    optimizers = new_state(run).optimizers
    for player, share in (("D", 16 / 17), ("G", 4 / 5)):
        group = optimizers[player].param_groups[0]  # type: ignore[index]
        assert group["lr"] == pytest.approx(0.002 * share)
        assert group["betas"] == pytest.approx((0.5**share, 0.99**share))
    assert lazy_interval(StyleGAN2Loss(r1_gamma=0).phases(), "D") == 1


def test_every_parameter_moves_within_one_lazy_round(run: Run, dataset: Dataset) -> None:
    state = new_state(run)
    before = {f"{p}.{n}": v.clone() for p, net in state.networks.items() for n, v in net.named_parameters()}
    steps(state, run, dataset, 2)
    after = {f"{p}.{n}": v for p, net in state.networks.items() for n, v in net.named_parameters()}
    assert [name for name, value in after.items() if torch.equal(value, before[name])] == []


# ---- latents


def test_mixing_takes_the_last_styles_from_second_latents(run: Run, dataset: Dataset) -> None:
    run = replace(run, loss=StyleGAN2Loss(mixing_probability=1.0))
    state, w, mixed = new_state(run), torch.zeros(8, 4, 6), 0
    for first in range(0, 8 * 40, 8):
        result = TrainingBatch(state, run, dataset, first)._mixed(w)
        assert torch.equal(result[:, 0], w[:, 0])  # the first layer is never replaced
        changed = [bool((result[:, layer] != 0).any()) for layer in range(4)]
        assert changed == sorted(changed)
        assert changed[-1]  # cutoffs are 1 .. L - 1
        mixed += changed.index(True) == 1
    assert 5 < mixed < 22  # a third of 40


def test_mixing_is_as_frequent_as_asked(run: Run, dataset: Dataset) -> None:
    state, w = new_state(run), torch.zeros(8, 4, 6)
    batches = [TrainingBatch(state, run, dataset, first) for first in range(0, 8 * 100, 8)]
    share = sum(batch._mixed(w) is not w for batch in batches) / 100
    assert abs(share - 0.9) < 0.09  # three standard deviations


def test_the_mean_of_w_follows_the_training_latents(run: Run, dataset: Dataset) -> None:
    run = replace(run, model=replace(run.model, w_avg_beta=0.0))  # type: ignore[type-var]
    state = new_state(run)
    batch = TrainingBatch(state, run, dataset, 0)
    batch.fake()
    expected = batch.w_mean
    assert expected is not None
    steps(state, run, dataset, 1)
    assert torch.allclose(state.generator.w_avg, expected, atol=1e-6)
    assert torch.equal(state.average.w_avg, state.generator.w_avg)


def test_two_micro_batches_average_w(run: Run, dataset: Dataset) -> None:
    halves = replace(run, micro_batch=4, model=replace(run.model, w_avg_beta=0.0))  # type: ignore[type-var]
    state = new_state(halves)
    batches = [TrainingBatch(state, halves, dataset, 0, part) for part in (0, 1)]
    means = []
    for batch in batches:
        batch.fake()
        assert batch.w_mean is not None
        means.append(batch.w_mean)
    steps(state, halves, dataset, 1)
    assert torch.allclose(state.generator.w_avg, torch.stack(means).mean(dim=0), atol=1e-6)


def test_fakes_of_both_phases_are_the_same_after_many_steps(run: Run, dataset: Dataset) -> None:
    """D's are made without a graph where micro-batches share a step."""
    run = replace(run, micro_batch=4)
    state = new_state(run)
    steps(state, run, dataset, 3)
    batch = TrainingBatch(state, run, dataset, 24, keep_fake=False)
    for_d = batch.fake()
    batch.player = "G"
    assert torch.equal(for_d, batch.fake().detach())


def test_the_path_length_is_remembered_as_the_mean_over_micro_batches(run: Run, dataset: Dataset) -> None:
    run = replace(run, micro_batch=4)
    state = new_state(run)
    steps(state, run, dataset, 2)
    before = copy.deepcopy(state)
    steps(state, run, dataset, 1)
    # the penalty comes after G's step: the same step without a penalty gives the weights it saw
    bare = replace(run, loss=replace(run.loss, path_length_weight=0.0))  # type: ignore[type-var]
    for optimizer in before.optimizers.values():
        assert optimizer is not None
    train_step(before, bare, dataset, bare.loss.phases())
    values = []
    for part in (0, 1):
        w, image, noise = TrainingBatch(before, run, dataset, 16, part).path(2)
        lengths = path_lengths(w, image, noise)
        values.append(torch.lerp(before.memory["path_length"], lengths.mean(), 0.01).detach())
    assert torch.allclose(state.memory["path_length"], torch.stack(values).mean(), rtol=1e-4)


# ---- gradient accumulation


@pytest.mark.parametrize(("micro_batch", "relativistic"), [(4, False), (8, False), (4, True)])
def test_a_step_in_parts_is_the_step_in_one(
    run: Run, dataset: Dataset, micro_batch: int, relativistic: bool
) -> None:
    """R1, mixing, noise, minibatch std and w's mean included; the path length's mean alone is of a part."""
    loss = replace(run.loss, path_length_decay=0.0, mixing_probability=1.0, relativistic=relativistic)  # type: ignore[type-var]
    run = replace(run, batch=16, micro_batch=16, loss=loss, total_images=64)
    whole, parts = new_state(run), new_state(run)
    in_parts = replace(run, micro_batch=micro_batch)
    for _ in range(2):
        expected, terms = steps(whole, run, dataset, 1), steps(parts, in_parts, dataset, 1)
        assert terms.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.allclose(terms[name], value, rtol=1e-4, atol=1e-6), name
    for player, network in whole.networks.items():
        for (name, value), got in zip(
            network.named_parameters(), parts.networks[player].parameters(), strict=True
        ):
            # Adam makes steps of lr = 0.002 of any gradient, however small
            assert torch.allclose(got, value, rtol=1e-3, atol=1e-4), name


def test_the_parts_of_a_batch_keep_its_groups_of_minibatch_std(run: Run) -> None:
    run = replace(run, batch=16, micro_batch=8)
    assert rows(run, 0).tolist() == [0, 1, 4, 5, 8, 9, 12, 13]
    assert rows(run, 1).tolist() == [2, 3, 6, 7, 10, 11, 14, 15]


# ---- resume


@pytest.mark.parametrize("micro_batch", [4, 8])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_resume_is_bit_equal_at_every_point_of_a_lazy_round(
    run: Run, dataset: Dataset, precision: str, micro_batch: int
) -> None:
    run = replace(run, precision=precision, micro_batch=micro_batch)  # type: ignore[arg-type]
    uninterrupted = new_state(run)
    for _ in range(3):
        parts = copy.deepcopy(uninterrupted.parts())
        steps(uninterrupted, run, dataset, 1)
        fresh = new_state(run)
        fresh.load_parts(parts)
        steps(fresh, run, dataset, 1)
        assert differing(fresh.parts(), uninterrupted.parts()) == []


def test_without_memory_or_mean_of_w_a_resumed_run_differs(run: Run, dataset: Dataset) -> None:
    state = new_state(run)
    steps(state, run, dataset, 2)  # the next step takes a path length
    parts = copy.deepcopy(state.parts())
    steps(state, run, dataset, 1)
    for change in ({"memory": {}}, {"G": parts["G"] | {"w_avg": torch.zeros(6)}}):
        fresh = new_state(run)
        fresh.load_parts(parts | change)
        steps(fresh, run, dataset, 1)
        assert differing(fresh.parts()["G"], state.parts()["G"]) != []


@pytest.mark.parametrize(
    "changes",
    [{"r1_gamma": -1.0}, {"r1_interval": 0}, {"mixing_probability": 1.5}, {"path_length_decay": math.nan}],
)
def test_impossible_settings_are_refused(changes: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(changes))):
        StyleGAN2Loss(**changes)  # type: ignore[arg-type]
