"""Parametric surfaces as grids of points, and their paint: the parts of the toys.

A toy's frame: x to the right, y up, z towards the viewer; a toy fills about [-1, 1] on each axis. Colors are linear RGB
in [0, 1], float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Paint = Callable[[Array, Array, Array], Array]
"""(u [n], v [n], position [3, n]) -> color [3, n]: u runs along a grid's columns, v along its rows, both in [0, 1]."""


@dataclass(frozen=True)
class Surface:
    """A grid of points and its paint.

    Attributes:
        points: float32 [M, N, 3].
        paint: color of any point.
        gloss: 0 (cloth) to 1 (glazed).
        is_closed: only the outer side can be seen, so back faces are culled. Seen from outside, rows run upwards and
            columns to the right.
    """

    points: Array
    paint: Paint
    gloss: float = 0.3
    is_closed: bool = True


def hex_to_linear_rgb(hex_code: str) -> Array:
    """Return linear RGB, float32 [3], of six hexadecimal digits of sRGB, whose curve is taken as a power of 2.2."""
    return (np.array([int(hex_code[i : i + 2], 16) for i in (0, 2, 4)], np.float32) / 255) ** np.float32(2.2)


def catmull_rom_spline(*knots: tuple[float, ...], count: int) -> Array:
    """Return points along the Catmull-Rom spline through the knots (Catmull and Rom, 1974).

    Args:
        knots: D coordinates each.
        count: number of points.

    Returns:
        float32 [count, D].
    """
    k = np.asarray(knots, np.float32)
    # Mirrored end points continue the curve beyond its ends.
    k = np.concatenate([2 * k[:1] - k[1:2], k, 2 * k[-1:] - k[-2:-1]])
    positions = np.linspace(0, len(knots) - 1, count, dtype=np.float32)
    i = np.minimum(positions.astype(int), len(knots) - 2)
    t = (positions - i.astype(np.float32))[:, None]
    a, b, c, d = k[i], k[i + 1], k[i + 2], k[i + 3]
    points: Array = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return points


def revolve_profile(
    profile: Array, paint: Paint, gloss: float = 0.3, *, sides: int = 48, is_closed: bool = True
) -> Surface:
    """Return the surface of revolution of a profile about the y axis.

    Args:
        profile: [M, 2], radius and height; upwards for the outside of the surface.
        paint: color of any point.
        gloss: 0 (cloth) to 1 (glazed).
        sides: columns of the grid.
        is_closed: see `Surface`.
    """
    angle = np.linspace(0, 2 * np.pi, sides + 1, dtype=np.float32)
    # Not 0 at a pole, where normals would be undefined.
    radius, height = np.maximum(profile[:, :1], 1e-4), profile[:, 1:]
    height = np.broadcast_to(height, (len(profile), sides + 1))
    # Counter-clockwise seen from above, so that columns run to the right seen from outside.
    points = np.stack([radius * np.cos(angle), height, -radius * np.sin(angle)], axis=-1)
    return Surface(points.astype(np.float32), paint, gloss, is_closed)


def sweep_tube(path: Array, radius: float, paint: Paint, gloss: float = 0.3, *, sides: int = 12) -> Surface:
    """Return a round bar along a path.

    Args:
        path: [M, 3].
        radius: radius of the bar.
        paint: color of any point.
        gloss: 0 (cloth) to 1 (glazed).
        sides: columns of the grid.
    """
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    # Any direction that no path of the toys is parallel to.
    side_axis = np.cross(tangent, np.array([0.31, 0.17, 0.94], np.float32))
    side_axis /= np.linalg.norm(side_axis, axis=1, keepdims=True) + 1e-9
    up_axis = np.cross(tangent, side_axis)
    angle = np.linspace(0, 2 * np.pi, sides + 1, dtype=np.float32)[None, :, None]
    points = path[:, None] + radius * (np.cos(angle) * side_axis[:, None] + np.sin(angle) * up_axis[:, None])
    return Surface(points.astype(np.float32), paint, gloss)


def make_ellipsoid(
    center: tuple[float, float, float], radii: tuple[float, float, float], paint: Paint, gloss: float
) -> Surface:
    """Return an ellipsoid with its axes along x, y and z.

    Args:
        center: x, y, z.
        radii: along x, y, z.
        paint: color of any point.
        gloss: 0 (cloth) to 1 (glazed).
    """
    latitude = np.linspace(-np.pi / 2, np.pi / 2, 13, dtype=np.float32)
    unit_sphere = revolve_profile(np.stack([np.cos(latitude), np.sin(latitude)], axis=1), paint, gloss, sides=20)
    return Surface(unit_sphere.points * np.array(radii, np.float32) + np.array(center, np.float32), paint, gloss)


def grid_normals(points: Array) -> Array:
    """Return unit normals, [M, N, 3], of a grid of points; smooth across the seam of a closed grid."""
    column_tangents = np.gradient(points, axis=1)
    # The first and the last column coincide: central differences across the seam.
    if np.allclose(points[:, 0], points[:, -1], atol=1e-5):
        column_tangents[:, 0] = column_tangents[:, -1] = (points[:, 1] - points[:, -2]) / 2
    normal_vectors = np.cross(column_tangents, np.gradient(points, axis=0))
    unit_normals: Array = normal_vectors / (np.linalg.norm(normal_vectors, axis=-1, keepdims=True) + 1e-12)
    return unit_normals


def plain_paint(color: Array) -> Paint:
    """Return paint of a single color."""
    return lambda u, _v, _p: np.broadcast_to(color[:, None], (3, len(u)))


def band_paint(colors: list[Array], count: float, *, rows: bool = False, wave: float = 0.0, teeth: int = 0) -> Paint:
    """Return paint of alternating stripes.

    Args:
        colors: linear RGB [3] each, in turn.
        count: number of stripes.
        rows: along v instead of u.
        wave: height of the zigzag.
        teeth: number of its teeth; 0 for straight stripes.
    """
    color_table = np.stack(colors, axis=1)

    def paint_bands(u: Array, v: Array, _p: Array) -> Array:
        along, across = (v, u) if rows else (u, v)
        if teeth:
            along = along + np.abs((across * teeth) % 1 - 0.5) * wave
        # Plus a little, as rounding may leave the first point of a stripe just below a whole number.
        return color_table[:, (along * count + 1e-4).astype(int) % len(colors)]

    return paint_bands


def dot_paint(base_color: Array, dot_color: Array, centers: Array, radius: Array) -> Paint:
    """Return paint of round dots.

    Args:
        base_color: linear RGB [3].
        dot_color: linear RGB [3].
        centers: [K, 3], in the toy's frame.
        radius: [K].
    """
    # |p - c|² < r²  <=>  2 c·p - (|c|² - r²) > |p|²: one matrix product for all dots.
    planes = np.concatenate([2 * centers, (radius**2 - (centers**2).sum(axis=1))[:, None]], axis=1).astype(np.float32)

    def paint_dots(_u: Array, _v: Array, p: Array) -> Array:
        best_score = (planes @ np.concatenate([p, np.ones_like(p[:1])])).max(axis=0)
        return np.where(best_score > (p * p).sum(axis=0), dot_color[:, None], base_color[:, None])

    return paint_dots


def scatter_points(rng: np.random.Generator, points: Array, count: int) -> Array:
    """Select points that lie well apart: each time the farthest of eight random ones (best-candidate sampling).

    Args:
        rng: source of random numbers.
        points: [K, 3].
        count: number of points to select.

    Returns:
        [count, 3].
    """
    selected_points = points[rng.integers(len(points), size=1)]
    for _ in range(count - 1):
        candidates = points[rng.integers(len(points), size=8)]
        distances = ((candidates[:, None] - selected_points[None]) ** 2).sum(axis=-1).min(axis=1)
        selected_points = np.concatenate([selected_points, candidates[distances.argmax()][None]])
    return selected_points


def in_range(values: Array, low: float, high: float) -> Array:
    """Return where low <= values < high."""
    return (values >= low) & (values < high)


def select_color(condition: Array, if_true: Array, if_false: Array) -> Array:
    """Return colors [3, n].

    Args:
        condition: bool [n].
        if_true: [3] or [3, n].
        if_false: [3] or [3, n].
    """
    return np.where(condition, *(color if color.ndim == 2 else color[:, None] for color in (if_true, if_false)))
