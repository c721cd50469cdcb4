"""What people wear: sound triangles, nothing inside the head, nothing that they did not put on."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from facegan.people.glasses import RIM_POINTS
from facegan.people.head import Part, head
from facegan.people.landmarks import eye_centres, landmark_vertices, landmarks
from facegan.people.person import CLOTHES, GLASSES, HATS, Person
from facegan.people.raster import Canvas, draw_triangles
from facegan.people.shape import Shape, shape_of
from facegan.people.solids import fitted, sheet, tube
from facegan.people.wear import Piece, clothes_clip, clothes_colours, covered_by_hat, pieces

NUM_PEOPLE = 20
FAR = 1e6  # added to a depth it makes a view orthographic
EYES_AND_MOUTH = slice(36, 68)


@pytest.fixture(scope="module")
def people() -> list[tuple[Person, Shape]]:
    """People of the population, their shapes; the raster compiled, the tables made."""
    canvas = Canvas.empty(4, 4)
    draw_triangles(canvas, np.array([[0.0, 0, 1], [3, 0, 1], [0, 3, 1]]), np.array([[0, 1, 2]]))
    bare = [
        Person.sample(np.random.default_rng(seed)).replace(hat="none", glasses="none")
        for seed in range(NUM_PEOPLE)
    ]
    shapes = [shape_of(person) for person in bare]
    for hat in HATS:
        pieces(bare[0].replace(hat=hat, glasses="round"), shapes[0])
    return list(zip(bare, shapes, strict=True))


@pytest.fixture(scope="module")
def anybody(people: list[tuple[Person, Shape]]) -> tuple[Person, Shape]:
    return people[0]


def wardrobe(person: Person) -> list[Person]:
    """The person in every hat, pair of glasses and piece of clothing."""
    return [
        *(person.replace(hat=hat) for hat in HATS),
        *(person.replace(glasses=glasses) for glasses in GLASSES),
        *(person.replace(clothes=clothes) for clothes in CLOTHES),
    ]


def put_on(person: Person, shape: Shape, **changes: str) -> list[Piece]:
    """What the person wears with these changes, and did not wear without."""
    without = 0 if changes.get("hat") == "headscarf" else len(pieces(person, shape))  # it covers collars
    return pieces(person.replace(**changes), shape)[without:]


def depths_before(worn: list[Piece], points: np.ndarray, size: int = 160, dm: float = 4.0) -> np.ndarray:
    """How far before points [N, 3] something opaque is, seen from ahead [N]; -inf where nothing is."""
    centre = points.mean(axis=0)

    def flat(vertices: np.ndarray) -> np.ndarray:
        x, y, z = (vertices - centre).T
        return np.stack([(x / dm + 0.5) * size, (0.5 - y / dm) * size, FAR - z], axis=1)

    canvas = Canvas.empty(size, size)
    for piece in worn:
        if piece.transparency == 0:
            draw_triangles(canvas, flat(piece.vertices), piece.triangles)
    x, y, depth = flat(points).T
    return depth - canvas.depth[y.astype(int), x.astype(int)]


def farthest_crossing(origin: np.ndarray, points: np.ndarray, worn: list[Piece]) -> np.ndarray:
    """How far out the last triangle on the ray from origin [3] through each point [N, 3] is; 1: there."""
    found = np.zeros(len(points))
    for piece in worn:
        a, b, c = (piece.vertices[piece.triangles[:, corner]] - origin for corner in range(3))
        normal = np.cross(b - a, c - a)
        volume = (a * normal).sum(axis=1)  # [T]
        for n, ray in enumerate(points - origin):
            with np.errstate(divide="ignore", invalid="ignore"):
                far = volume / (normal @ ray)
                place = far[:, None] * ray
                inside = np.ones(len(a), bool)
                for one, other in ((a, b), (b, c), (c, a)):
                    inside &= (np.cross(other - one, place - one) * normal).sum(axis=1) >= -1e-9
            found[n] = max(found[n], far[inside & np.isfinite(far)].max(initial=0))
    return found


# ---- sheets and tubes


def test_a_tube_has_the_volume_of_a_torus() -> None:
    """V = 2 pi^2 R r^2, and outward triangles: the divergence theorem gives the volume with its sign."""
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    outward = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], axis=1)
    mesh = tube(2 * outward, outward, 0.3, 0.3, closes=True, sides=60)
    a, b, c = (mesh.vertices[mesh.triangles[:, corner]] for corner in range(3))
    volume = (a * np.cross(b, c)).sum() / 6
    assert volume == pytest.approx(2 * np.pi**2 * 2 * 0.3**2, rel=0.01)


def test_a_sheet_that_is_a_ball_has_its_directions_as_normals() -> None:
    height = np.linspace(-np.pi / 2, np.pi / 2, 41)[:, None]
    around = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    ball = np.stack(
        [np.cos(height) * np.sin(around), np.sin(height) + 0 * around, np.cos(height) * np.cos(around)],
        axis=2,
    )
    mesh = sheet(ball, columns_close=True)
    np.testing.assert_allclose(mesh.normals, mesh.vertices, atol=0.05)  # one-sided at the poles


def test_a_fit_finds_scale_and_offset() -> None:
    rest = np.random.default_rng(0).normal(size=(50, 3))
    scale, offset = np.array([1.1, 0.9, 1.3]), np.array([0.1, -2, 0.3])
    fit = fitted(rest, rest * scale + offset)
    np.testing.assert_allclose(fit.scale, scale)
    np.testing.assert_allclose(fit.rest(fit.person(rest)), rest)


# ---- all pieces


def test_triangles_index_their_vertices_and_values_are_sound(anybody: tuple[Person, Shape]) -> None:
    person, shape = anybody
    for dressed in wardrobe(person):
        for piece in pieces(dressed, shape):
            count = len(piece.vertices)
            assert piece.triangles.min() == 0
            assert piece.triangles.max() == count - 1
            assert piece.normals.shape == piece.colours.shape == (count, 3)
            assert np.isfinite(piece.vertices).all()
            np.testing.assert_allclose(np.sqrt((piece.normals**2).sum(axis=1)), 1, atol=1e-9)
            assert piece.colours.min() >= 0
            assert piece.colours.max() <= 1
            assert piece.turns in ("head", "body", "blend")


@pytest.mark.parametrize("hat", HATS[1:])
def test_hats_normals_point_away_from_the_head(people: list[tuple[Person, Shape]], hat: str) -> None:
    for person, shape in people[:4]:
        centre = eye_centres(shape.vertices).mean(axis=0) - [0, 0, 0.8]
        crown = put_on(person, shape, hat=hat)[0]
        assert ((crown.vertices - centre) * crown.normals).sum(axis=1).mean() > 0.4


def test_collars_normals_point_away_from_the_neck_outside(people: list[tuple[Person, Shape]]) -> None:
    for person, shape in people[:4]:
        for clothes in CLOTHES:
            for piece in pieces(person.replace(clothes=clothes), shape):
                level = (piece.vertices - piece.vertices.mean(axis=0)) * piece.normals
                assert level[:, [0, 2]].sum() > 0


def test_who_wears_nothing_wears_a_collar_at_most(anybody: tuple[Person, Shape]) -> None:
    person, shape = anybody
    assert len(pieces(person.replace(clothes="t-shirt"), shape)) == 1
    scalp = head().vertices[head().part_vertices(Part.SKIN)]
    assert not covered_by_hat(person, scalp).any()


def test_the_same_person_wears_the_same_in_another_pose(anybody: tuple[Person, Shape]) -> None:
    person, _ = anybody
    person = person.replace(hat="cap", glasses="oval", clothes="scarf")
    turned = person.replace(yaw_degrees=30, exposure=2, light_azimuth_degrees=90, backdrop="night")
    for one, other in zip(pieces(person, shape_of(person)), pieces(turned, shape_of(turned)), strict=True):
        np.testing.assert_array_equal(one.vertices, other.vertices)
        np.testing.assert_array_equal(one.colours, other.colours)


# ---- glasses


@pytest.mark.parametrize("glasses", GLASSES[1:])
def test_frames_and_lenses_lie_before_the_eyes(people: list[tuple[Person, Shape]], glasses: str) -> None:
    for person, shape in people:
        frame, left, right = put_on(person, shape, glasses=glasses)
        eyes = np.concatenate([head().part_vertices(Part.LEFT_EYE), head().part_vertices(Part.RIGHT_EYE)])
        front = shape.vertices[eyes, 2].max()
        rims = frame.vertices[frame.vertices[:, 2] > eye_centres(shape.vertices)[:, 2].mean()]
        assert rims[:, 2].max() > front
        for lens in (left, right):
            assert lens.vertices[:, 2].min() > front - 0.03  # wrapped about the temple, outside of the eye
            assert lens.transparency > 0.5


@pytest.mark.parametrize("glasses", ["round", "oval", "square"])
def test_no_part_of_a_rim_is_inside_the_face(people: list[tuple[Person, Shape]], glasses: str) -> None:
    """Seen from ahead, each point of the rims' front is before the skin."""
    skin = head().triangles[head().parts == Part.SKIN]
    for person, shape in people:
        frame = put_on(person, shape, glasses=glasses)[0]
        starts = 0, 8 * RIM_POINTS + 8 * 14  # a rim, a temple, a rim
        rims = np.stack([frame.vertices[i : i + 8 * RIM_POINTS].reshape(8, -1, 3) for i in starts])
        front = rims.max(axis=1)[..., 2]  # [2, RIM_POINTS]
        middle = rims.mean(axis=1)
        face = Piece(shape.vertices, skin, shape.normals, shape.vertices, 1, 0, "head")
        before = depths_before([face], np.concatenate([middle[0], middle[1]]), size=400)
        assert np.mean(before > front.ravel() - middle[..., 2].ravel()) < 0.02


# ---- hats


@pytest.mark.parametrize("hat", ["beanie", "cap", "brimmed-hat"])
def test_every_vertex_of_the_scalp_is_inside_the_hat(people: list[tuple[Person, Shape]], hat: str) -> None:
    skin = head().part_vertices(Part.SKIN)
    for person, shape in people:
        a_bit_lower = head().vertices[skin] - [0, 0.1, 0]  # no fit is exact: the skin may show below the rim
        covered = skin[covered_by_hat(person.replace(hat=hat), a_bit_lower) == 1]
        crown = put_on(person, shape, hat=hat)[:1]
        points = shape.vertices[covered]
        origin = points.mean(axis=0) - [0, 0.3, 0]
        assert len(covered) > 50
        assert farthest_crossing(origin, points[::3], crown).min() >= 1


@pytest.mark.parametrize("hat", HATS[1:])
def test_eyes_nose_and_mouth_are_free_of_the_hat(people: list[tuple[Person, Shape]], hat: str) -> None:
    for person, shape in people:
        worn = put_on(person, shape, hat=hat)
        assert depths_before(worn, landmarks(shape.vertices)[EYES_AND_MOUTH]).max() < 0


def test_hats_cover_the_crown_and_not_the_face() -> None:
    person = Person.sample(np.random.default_rng(0))
    crown, face = np.array([[0.0, 8.49, 0.6]]), head().vertices[landmark_vertices()[EYES_AND_MOUTH]]
    for hat in HATS[1:]:
        assert covered_by_hat(person.replace(hat=hat), crown) == 1
        assert not covered_by_hat(person.replace(hat=hat), face).any()


# ---- clothes


@pytest.mark.parametrize("clothes", CLOTHES)
def test_the_shirt_is_cut_below_the_chin_and_nothing_else_is(clothes: str) -> None:
    rest = head().vertices
    chin = rest[landmark_vertices()[8], 1]
    shirt = head().part_vertices(Part.CLOTHES)
    for seed in range(5):
        person = Person.sample(np.random.default_rng(seed)).replace(clothes=clothes)
        clip = clothes_clip(person, rest)
        assert (np.delete(clip, shirt) == 1).all()
        assert (clip[shirt][rest[shirt, 1] > chin - 0.05] < 0).all()
        assert (clip[shirt][rest[shirt, 1] < 5.0] > 0).all()


@pytest.mark.parametrize("clothes", CLOTHES)
def test_cloth_has_the_persons_colour(clothes: str) -> None:
    person = Person.sample(np.random.default_rng(1)).replace(
        clothes=clothes, clothes_colour=(0.5, 0.1, 0.1), second_colour=(0.5, 0.1, 0.1)
    )
    shirt = head().vertices[head().part_vertices(Part.CLOTHES)]
    colours = clothes_colours(person, shirt)
    assert colours.shape == shirt.shape
    assert np.isfinite(colours).all()
    np.testing.assert_allclose(np.median(colours, axis=0), (0.5, 0.1, 0.1), rtol=0.25)
