"""The 68 landmarks of a head, and the points that its picture is aligned by: they move with the face."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from facegan.people.head import Floats, Indices, Part, head

# Where an annotator of the iBUG 300-W layout clicks on the rest head: decimetres, the picture's left half
# and the midline; the other half is its mirror image. Each point is the skin vertex nearest to the position.
# How each group was found, by eye in an orthographic front view:
#   0-8    jaw: the outline from eye level before the ear to the chin's lowest edge, about equal lengths
#   17-21  brows: the mesh has none; the bone ridge above the eye, 0.1 to 0.13 above the upper lid
#   27-30  nose: midline from eye level to the tip (about the largest z)
#   31-33  nostrils: underside of the wing, of the nostril, and of the septum
#   36-41  eye: the corners where the lid rims meet; the outer edge of each rim near 1/3 and 2/3 of the width
#   48-59  outer lips: the border of the UV mask "lips", near thirds of the open mouth's border on each side
#   60-67  inner lips: the rim that is the outline of the opening when jawOpen opens it
HALF_LANDMARKS = {
    0: (-0.720, 7.283, 0.646),
    1: (-0.710, 7.121, 0.676),
    2: (-0.692, 6.953, 0.711),
    3: (-0.634, 6.760, 0.845),
    4: (-0.580, 6.613, 0.826),
    5: (-0.501, 6.469, 0.989),
    6: (-0.355, 6.316, 1.156),
    7: (-0.223, 6.231, 1.303),
    8: (0.000, 6.168, 1.378),
    17: (-0.541, 7.438, 1.257),
    18: (-0.415, 7.447, 1.379),
    19: (-0.340, 7.464, 1.420),
    20: (-0.256, 7.469, 1.455),
    21: (-0.162, 7.457, 1.489),
    27: (0.000, 7.292, 1.508),
    28: (0.000, 7.196, 1.536),
    29: (0.000, 7.067, 1.608),
    30: (0.000, 6.938, 1.680),
    31: (-0.151, 6.856, 1.523),
    32: (-0.082, 6.828, 1.533),
    33: (0.000, 6.805, 1.573),
    36: (-0.445, 7.290, 1.355),
    37: (-0.347, 7.338, 1.408),
    38: (-0.270, 7.330, 1.408),
    39: (-0.172, 7.276, 1.388),
    40: (-0.274, 7.237, 1.398),
    41: (-0.352, 7.235, 1.400),
    48: (-0.267, 6.609, 1.415),
    49: (-0.179, 6.687, 1.523),
    50: (-0.080, 6.719, 1.585),
    51: (0.000, 6.696, 1.597),
    57: (0.000, 6.489, 1.556),
    58: (-0.057, 6.495, 1.542),
    59: (-0.186, 6.543, 1.473),
    60: (-0.243, 6.611, 1.411),
    61: (-0.076, 6.613, 1.545),
    62: (0.000, 6.608, 1.553),
    66: (0.000, 6.606, 1.527),
    67: (-0.104, 6.607, 1.508),
}
# MIRROR[i] is the landmark that i becomes when the picture is flipped.
MIRROR = (
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65,
)  # fmt: skip
MOUTH_CORNERS = (48, 54)
JAW, CHIN = 17, 8  # landmarks 0 .. 16, the chin among them
MIDDLE = (
    30,
    36,
    45,
    48,
    54,
)  # nose tip, outer corners of the eyes, corners of the mouth: the middle of a face
JAW_ANGLE, JAW_REACH, JAW_BEYOND, JAW_BEHIND = (
    0.07,
    0.28,
    1.05,
    0.02,
)  # radians, share of the landmark's own, dm


@lru_cache(maxsize=1)
def landmark_vertices() -> Indices:
    """The 68 vertices [68] of the iBUG 300-W layout (Sagonas et al. 2013), the picture's left first.

    0-16 jaw, 17-21 and 22-26 brows, 27-30 nose bridge, 31-35 nostrils, 36-41 and 42-47 eyes,
    48-59 outer lips, 60-67 inner lips. The points keep to their place on the skin.

    Differs: an annotator's jaw line follows the outline of a turned head, as that of seen_landmarks does;
    this one turns with the head.
    """
    positions = np.empty((len(MIRROR), 3))
    for point, position in HALF_LANDMARKS.items():
        positions[MIRROR[point]] = np.multiply(position, (-1, 1, 1))
        positions[point] = position
    skin = head().part_vertices(Part.SKIN)
    offsets = positions[:, None] - head().vertices[skin]  # [68, N, 3]
    vertices: Indices = skin[(offsets**2).sum(axis=2).argmin(axis=1)]
    vertices.setflags(write=False)
    return vertices


def landmarks(vertices: Floats) -> Floats:
    """The 68 landmarks [68, 3] of a head's vertices [V, 3]."""
    return vertices[landmark_vertices()]


def seen_landmarks(pixels: Floats) -> Floats:
    """The 68 landmarks [68, 2] in a picture in which the vertices are at pixels [V, 2], y down.

    As landmarks, but the jaw line 0-16 is an annotator's: it follows the outline of a turned face (each point
    the outermost of the vertices before it at its angle about the face, after Zhu et al. 2015, landmark
    marching), from the height of the eyes to the chin and back in equal steps.
    """
    points = pixels[landmark_vertices()]
    candidates, centre = _jaw_candidates(), points[list(MIDDLE)].mean(axis=0)
    outward = points[:JAW] - centre
    outermost = ((pixels[candidates] - centre) * outward[:, None]).sum(axis=2).argmax(axis=1)
    outline = pixels[candidates[np.arange(JAW), outermost]]
    eye_height = float(points[36:48, 1].mean())
    points[:CHIN] = _equal_steps(_from_height(outline[: CHIN + 1], eye_height))[:-1]
    points[CHIN:JAW] = _equal_steps(_from_height(outline[: CHIN - 1 : -1], eye_height))[::-1]
    return points


def _from_height(path: Floats, height: float) -> Floats:
    """A path [N, 2] that leads down, cut or prolonged so that it starts at this y."""
    is_below = path[:, 1] >= height
    below = int(is_below.argmax())
    if not is_below[below]:
        return path
    if below == 0:
        (x, y), (along, down) = path[0], path[1] - path[0]
        if down < abs(along) / 2:  # it hardly leads down: prolonged, it would fly off
            return path
        return np.concatenate([[[x + along / down * (height - y), height]], path])
    before, after = path[below - 1], path[below]
    share = (height - before[1]) / (after[1] - before[1])
    return np.concatenate([[before * (1 - share) + after * share], path[below:]])


def _equal_steps(path: Floats) -> Floats:
    """CHIN + 1 points [9, 2] on a path [N, 2], from its start to its end."""
    lengths = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    places = np.linspace(0, lengths[-1], CHIN + 1)
    return np.stack([np.interp(places, lengths, path[:, axis]) for axis in range(2)], axis=1)


@lru_cache(maxsize=1)
def _jaw_candidates() -> Indices:
    """For each jaw point the skin vertices [17, C] before it at about its angle; padded with itself."""
    own, skin = landmark_vertices()[:JAW], head().part_vertices(Part.SKIN)
    rest, middle = head().vertices, head().vertices[landmark_vertices()[list(MIDDLE)]].mean(axis=0)

    def polar(vertices: Indices) -> tuple[Floats, Floats]:
        x, y, _ = (rest[vertices] - middle).T
        return np.arctan2(x, -y), np.hypot(x, y)

    (angles, radii), (own_angles, own_radii) = polar(skin), polar(own)
    found = [
        skin[
            (np.abs(angles - angle) < JAW_ANGLE)
            & (radii > (1 - JAW_REACH) * radius)
            & (radii < JAW_BEYOND * radius)
            & (rest[skin, 2] > rest[vertex, 2] - JAW_BEHIND)
        ]
        for vertex, angle, radius in zip(own, own_angles, own_radii, strict=True)
    ]
    longest = max(map(len, found))
    rows = [
        np.concatenate([row, np.full(longest - len(row), vertex)])
        for row, vertex in zip(found, own, strict=True)
    ]
    return np.stack(rows)


def eye_centres(vertices: Floats) -> Floats:
    """The centres of both eyeballs [2, 3], the picture's left (the subject's right) first."""
    eyes = (head().part_vertices(part) for part in (Part.RIGHT_EYE, Part.LEFT_EYE))
    return np.stack([vertices[eye].mean(axis=0) for eye in eyes])


def mouth_corners(vertices: Floats) -> Floats:
    """The corners of the mouth [2, 3], landmarks 48 and 54."""
    return landmarks(vertices)[list(MOUTH_CORNERS)]
