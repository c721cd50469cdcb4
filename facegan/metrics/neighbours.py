"""How far two sets of features, real and fake, lie in each other's neighbourhoods.

    inside_manifolds    precision and recall (Kynkaanniemi et al. 2019, arXiv 1904.06991)
    neighbourhoods      density and coverage, robust to outliers (Naeem et al. 2020, arXiv 2002.09797)
    nearness            how near a fake is to a real one, and with that authenticity (Alaa et al. 2022,
                        arXiv 2102.08921)

Each score is the mean of what is given sample by sample. All but nearness depend on both counts and on
k: compare only values of equal ones. Features are [N, D] of any floating type; all arithmetic is in float64
on the CPU, in blocks of bounded memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from facegan.metrics.distances import at_least, checked_pair

BLOCK_ELEMENTS = 2**22  # distances held at once by the neighbour metrics: 32 MiB of float64
SAME = 1e-12  # squared distances tie within this part of the squared norms; rounding is below D eps = 5e-13


def inside_manifolds(real: Tensor, fake: Tensor, *, k: int = 3) -> tuple[Tensor, Tensor]:
    """1 where a fake [M] is inside the reals' manifold, and where a real [N] is inside the fakes', else 0.

    real [N, D], fake [M, D]. A manifold is the union of closed balls around its points, each as large as
    the distance to the point's k-th nearest neighbour but itself (Kynkaanniemi et al. 2019, eq. 1 and 2).

    Raises:
        UsageError: shapes, not more than k samples, or features that are not finite.
    """
    real, fake = _centred_pair(real, fake, k)
    real_radii, fake_radii = _squared_radii(real, k), _squared_radii(fake, k)
    fake_inside = torch.zeros(len(fake), dtype=torch.float64)
    real_inside = torch.zeros(len(real), dtype=torch.bool)
    for rows, squared in _squared_distances(fake, real, ties=-SAME):
        fake_inside[rows] = (squared <= real_radii).any(dim=1).double()
        real_inside |= (squared <= fake_radii[rows, None]).any(dim=0)
    return fake_inside, real_inside.double()


def neighbourhoods(real: Tensor, fake: Tensor, *, k: int = 5) -> tuple[Tensor, Tensor]:
    """How many reals' balls hold a fake / k [M]; and 1 where a real's ball holds any fake, else 0 [N].

    real [N, D], fake [M, D]; a ball reaches to the real's k-th nearest real neighbour but itself (Naeem et
    al. 2020, sec. 3). Density may be above 1. The paper leaves the rim open; it is outside here, so that a
    set against itself has density 1: each ball holds its centre and k - 1 neighbours.

    Raises:
        UsageError: shapes, not more than k samples, or features that are not finite.
    """
    real, fake = _centred_pair(real, fake, k)
    radii = _squared_radii(real, k)
    densities = torch.zeros(len(fake), dtype=torch.float64)
    covered = torch.zeros(len(real), dtype=torch.bool)
    for rows, squared in _squared_distances(fake, real, ties=SAME):
        inside = squared < radii
        densities[rows] = inside.sum(dim=1).double() / k
        covered |= inside.any(dim=0)
    return densities, covered.double()


def nearness(real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """How near each fake is to its nearest real [M], and which real that is [M].

    real [N, D], fake [M, D]. In units of how far that real is from its own nearest other real: 0 for a copy.
    Above 1 a fake is authentic (Alaa et al. 2022, arXiv 2102.08921): no nearer to a real one than another
    real one is. Differs: doubles of a real are not its neighbours, or nothing but they would be near to it.

    Raises:
        UsageError: shapes, fewer than 2 samples, or features that are not finite.
    """
    real, fake = _centred_pair(real, fake, 1)
    near, which = torch.zeros(len(fake), dtype=torch.float64), torch.zeros(len(fake), dtype=torch.long)
    for rows, squared in _squared_distances(fake, real, ties=-SAME):
        near[rows], which[rows] = squared.min(dim=1)
    among = _squared_distances(real, real, ties=-SAME)  # itself and its doubles are at 0 or below
    radii = torch.cat([squared.masked_fill(squared <= 0, torch.inf).amin(dim=1) for _, squared in among])
    own = radii[which]
    return (near.clamp(min=0) / own).sqrt(), which


def _squared_distances(x: Tensor, y: Tensor, ties: float = 0.0) -> Iterator[tuple[slice, Tensor]]:
    """Rows of x, and their squared distances to all of y [rows, M]; in blocks of bounded memory.

    |x|^2 + |y|^2 - 2 x.y is ten times as fast as differences, but rounds, and a tie with a radius must not
    hang on that: with `ties` below zero what is as far as a radius falls inside it, above zero outside.
    """
    x_squares, y_squares = ((1 + ties) * z.square().sum(dim=1) for z in (x, y))
    num_rows = max(1, BLOCK_ELEMENTS // len(y))
    for start in range(0, len(x), num_rows):
        rows = slice(start, start + num_rows)
        yield rows, x_squares[rows, None] + y_squares - 2 * x[rows] @ y.T


def _squared_radii(x: Tensor, k: int) -> Tensor:
    """Squared distance [N] from each point to its k-th nearest neighbour; the nearest of all is itself."""
    return torch.cat([squared.kthvalue(k + 1, dim=1).values for _, squared in _squared_distances(x, x)])


def _centred_pair(real: Tensor, fake: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Both sets less the mean of the reals, for small norms; of more than k samples each."""
    at_least(1, k=k)
    real, fake = checked_pair(real, fake, least=k + 1)
    return real - real.mean(dim=0), fake - real.mean(dim=0)
