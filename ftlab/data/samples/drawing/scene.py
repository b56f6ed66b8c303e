"""A small renderer: surfaces before a ground, under one lamp and a sky, to a picture and the object's mask.

A visibility buffer holds for each sample which triangle is seen there (Burns and Hunt, 2013); normal and place on the
surface are interpolated from its corners, painted and lit. Shadows and the dimming of hollows come from the picture's
height field, ground included. Samples lie twice as dense as pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from ftlab.data.samples.drawing.surfaces import Array, Surface, normals
from ftlab.data.samples.drawing.texture import Ground

_DENSE = 2  # samples along a pixel's side
_EYE = 5.0  # from the viewer to the toy's middle, in the toy's own units
_FRACTION = 4  # bits after the point, of the corners that OpenCV fills between
_CENTRE = 224 / 256  # of the shorter side: what networks see
_AIR = 2  # pixels that stay free within it on each side, for the lens's blur


@dataclass(frozen=True)
class Lamp:
    """The light of a scene.

    Attributes:
        towards: [3] unit vector from the scene to the lamp (x right, y up, z to the viewer).
        tint: [3] linear RGB of its light; 1 is plain white.
        sky: [3] linear RGB of the light from everywhere else.
    """

    towards: Array
    tint: Array
    sky: Array


@dataclass(frozen=True)
class _Mesh:
    """Triangles in pixels of the dense grid, by surface, and of one surface the farthest first.

    corners [T, 3, 3] (x right, y down, z to the viewer), normal [T, 3, 3], place [T, 3, 5] (u, v, object's x, y, z),
    surface [T] index.
    """

    corners: Array
    normal: Array
    place: Array
    surface: Array


def rotation(yaw: float, pitch: float, roll: float) -> Array:
    """The matrix [3, 3] that turns about y, then x, then z; angles in degrees."""
    a, b, c = np.deg2rad([yaw, pitch, roll])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return (about_z @ about_x @ about_y).astype(np.float32)


def render(
    surfaces: list[Surface], turn: Array, span: float, place: tuple[float, float], ground: Ground, lamp: Lamp
) -> tuple[Array, Array]:
    """The picture of an object before a ground.

    Args:
        surfaces: the object.
        turn: its rotation, [3, 3].
        span: side in pixels of the square as large as the object's bounding box; its longer side is at most
            1.3 times that.
        place: where its bounding box lies in what is left of the central square, (x, y) in [0, 1].
        ground: what is behind it, [S, S].
        lamp: the light.

    Returns:
        picture [S, S, 3] float32 linear RGB, not clipped, and coverage [S, S] float32 in [0, 1].
    """
    side = ground.albedo.shape[0]
    mesh = _project(surfaces, turn, span, place, side)
    seen, depth = _visible(mesh, side * _DENSE)
    here = np.flatnonzero(seen)
    which = seen.ravel()[here].astype(np.intp) - 1
    weights = _barycentric(mesh, which, *np.divmod(here, side * _DENSE)[::-1])
    spot = np.stack([_blend(mesh.place[..., k], which, *weights) for k in range(5)])
    normal = np.stack([_blend(mesh.normal[..., k], which, *weights) for k in range(3)])
    normal /= np.copysign(np.sqrt(_along(normal, normal)) + np.float32(1e-9), normal[2])
    owner = mesh.surface[which]
    albedo = np.empty((3, len(which)), np.float32)
    for i, surface in enumerate(surfaces):
        own = np.flatnonzero(owner == i)
        at = np.take(spot, own, axis=1)
        albedo[:, own] = surface.paint(at[0], at[1], at[2:])
    gloss = np.array([surface.gloss for surface in surfaces], np.float32)[owner]

    cover = _reduce((seen > 0).astype(np.float32), side)
    relief = _reduce(np.maximum(depth, 0) / _DENSE, side)
    shadow, hollow = _shadow(relief, lamp.towards), _hollow(relief)
    sun, open_ = (cv2.resize(x, seen.shape, interpolation=cv2.INTER_NEAREST).ravel()[here] for x in (shadow, hollow))
    lit = _shade(albedo, normal, gloss, sun, open_, lamp, ground.mean * 0.5)
    dense = np.zeros((3, seen.size), np.float32)
    dense[:, here] = lit
    front = np.stack([_reduce(channel.reshape(seen.shape), side) for channel in dense], axis=-1)
    return front + _shade_ground(ground, shadow, hollow, lamp) * (1 - cover[..., None]), cover


def _project(surfaces: list[Surface], turn: Array, span: float, place: tuple[float, float], side: int) -> _Mesh:
    corners, normal, spot, owner, culled = [], [], [], [], []
    for i, sheet in enumerate(surfaces):
        m, n = sheet.points.shape[:2]
        v, u = np.meshgrid(np.linspace(0, 1, m), np.linspace(0, 1, n), indexing="ij")
        about = np.concatenate([u[..., None], v[..., None], sheet.points], axis=-1).astype(np.float32).reshape(-1, 5)
        at = np.arange(m * n).reshape(m, n)
        a, b, c, d = (x.ravel() for x in (at[:-1, :-1], at[:-1, 1:], at[1:, 1:], at[1:, :-1]))
        triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
        spot.append(about[triangles])
        corners.append((sheet.points.reshape(-1, 3) @ turn.T)[triangles])
        normal.append((normals(sheet.points).reshape(-1, 3) @ turn.T)[triangles])
        owner.append(np.full(len(triangles), i))
        culled.append(np.full(len(triangles), sheet.solid))
    points, facing = np.concatenate(corners), np.concatenate(normal)
    points = points * (_EYE / (_EYE - points[..., 2:]))
    points[..., 1] *= -1
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    box = (high - low)[:2]
    inner = side * _CENTRE - 2 * _AIR
    scale = min(span / np.sqrt(box[0] * box[1]), 1.3 * span / box.max(), inner / box.max())
    rest = inner - box * scale
    origin = (side - inner) / 2 + rest * np.array(place) - low[:2] * scale
    points[..., :2] = points[..., :2] * scale + origin
    points[..., 2] = (points[..., 2] - low[2]) * scale
    surface = np.concatenate(owner)
    order = np.lexsort((points[..., 2].mean(axis=1), surface))
    order = order[~(np.concatenate(culled) & (facing[..., 2].mean(axis=1) < -0.05))[order]]
    return _Mesh(
        (points[order] * _DENSE).astype(np.float32), facing[order], np.concatenate(spot)[order], surface[order]
    )


def _visible(mesh: _Mesh, side: int) -> tuple[Array, Array]:
    """Number of the triangle seen at each sample, from 1, 0 where there is none; and its depth. [side, side] each.

    Within a surface the nearer triangle is painted over the farther one; between surfaces, which may cut through each
    other, the depth at the sample decides.
    """
    seen = np.zeros((side, side), np.int32)
    depth = np.full((side, side), -1, np.float32)
    fixed = np.round((mesh.corners[..., :2] - 0.5) * (1 << _FRACTION)).astype(np.int32)
    starts = np.flatnonzero(np.diff(mesh.surface, prepend=-1, append=-1))
    for first, last in pairwise(starts.tolist()):
        left, top = fixed[first:last].min(axis=(0, 1)) >> _FRACTION
        right, bottom = (fixed[first:last].max(axis=(0, 1)) >> _FRACTION) + 2
        own = np.zeros((bottom - top, right - left), np.int32)
        corner = np.array([left, top], np.int32) << _FRACTION
        for i, triangle in enumerate(fixed[first:last] - corner, start=first + 1):
            cv2.fillConvexPoly(own, triangle, i, cv2.LINE_8, _FRACTION)
        y, x = np.nonzero(own)
        which = own[y, x].astype(np.intp) - 1
        y, x = y + top, x + left
        s, t = _barycentric(mesh, which, x, y)
        near = _blend(mesh.corners[..., 2], which, s, t)
        front = near > depth[y, x]
        y, x = y[front], x[front]
        seen[y, x], depth[y, x] = which[front] + 1, near[front]
    return seen, depth


def _barycentric(mesh: _Mesh, which: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """Weights [n] of a triangle's second and third corner at samples."""
    a, b, c = (mesh.corners[:, k, :2] for k in range(3))
    ab, ac = b - a, c - a
    twice = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    twice = np.where(np.abs(twice) < 1e-4, np.float32(1e-4), twice)
    dx = x.astype(np.float32) + np.float32(0.5) - np.take(a[:, 0], which)
    dy = y.astype(np.float32) + np.float32(0.5) - np.take(a[:, 1], which)
    s = dx * np.take(ac[:, 1] / twice, which) - dy * np.take(ac[:, 0] / twice, which)
    t = dy * np.take(ab[:, 0] / twice, which) - dx * np.take(ab[:, 1] / twice, which)
    # A filled triangle reaches half a sample over its edges: there, take the nearest place on it.
    s, t = np.clip(s, 0, 1), np.clip(t, 0, 1)
    over = np.maximum(s + t, 1)
    return s / over, t / over


def _blend(corners: Array, which: Array, s: Array, t: Array) -> Array:
    """What three corners [T, 3] hold, at samples [n]."""
    a, b, c = np.ascontiguousarray(corners.T)
    return np.take(a, which) + s * np.take(b - a, which) + t * np.take(c - a, which)


def _shadow(relief: Array, towards: Array) -> Array:
    """How much of the lamp each pixel sees, [S, S] in [0, 1]: a march over the height field, at half its density."""
    side = relief.shape[0]
    field = _reduce(relief, side // 2)
    blocked = np.zeros_like(field)
    count = 20
    for k in range(1, count + 1):
        up = float(field.max()) * k / count
        dx, dy = up * towards[0] / towards[2] / 2, -up * towards[1] / towards[2] / 2
        move = np.array([[1, 0, -dx], [0, 1, -dy]], np.float32)
        height = cv2.warpAffine(field, move, field.shape, flags=cv2.INTER_LINEAR)
        # Right at the surface its own roughness would shade it: blockers count from a few pixels up.
        blocked = np.maximum(blocked, np.clip((height - field - (up + 2.5)) / 10, 0, 1))
    blocked = cv2.GaussianBlur(blocked, (0, 0), side / 220)
    return 1 - cv2.resize(blocked, (side, side), interpolation=cv2.INTER_LINEAR)


def _hollow(relief: Array) -> Array:
    """Dimming [S, S] in [0.45, 1] where the surroundings stand higher (Luft, Colditz, Deussen, 2006)."""
    side = relief.shape[0]
    dim = np.zeros_like(relief)
    for sigma in (side / 80, side / 24):
        dim += np.clip((cv2.GaussianBlur(relief, (0, 0), sigma) - relief) / (sigma * 4), 0, 1)
    return 1 - 0.55 * np.clip(dim, 0, 1)


def _shade(
    albedo: Array, normal: Array, gloss: Array | float, sun: Array, hollow: Array, lamp: Lamp, bounce: Array
) -> Array:
    """Linear light that samples send to the viewer: wrapped diffuse, sky and ground, highlight, sheen.

    Args:
        albedo, normal: [3, ...], channels first so that numpy runs along the samples.
        gloss, sun, hollow: [...], in [0, 1].
        lamp: the light.
        bounce: [3], light that comes back from the ground.
    """
    sky, tint, back = (np.expand_dims(c, tuple(range(1, albedo.ndim))) for c in (lamp.sky, lamp.tint, bounce))
    direct = np.clip(_along(normal, lamp.towards) * 0.9 + 0.1, 0, 1) * sun
    upward = normal[1] * 0.5 + 0.5
    around = (back + sky * 0.25 + (sky * 0.75 - back) * upward) * hollow
    half = lamp.towards + np.array([0, 0, 1], np.float32)
    glint = np.clip(_along(normal, half / np.linalg.norm(half)), 0, 1) - 1
    glow = gloss * (0.9 * np.exp((20 + 160 * gloss) * glint) + 0.12 * np.exp(12 * glint)) * sun
    sheen = np.square(np.square(1 - np.clip(normal[2], 0, 1))) * (0.12 + 0.3 * gloss) * upward * hollow
    return albedo * (direct * tint + around) + glow * tint + sheen * sky


def _along(normal: Array, way: Array) -> Array:
    return normal[0] * way[0] + normal[1] * way[1] + normal[2] * way[2]


def _shade_ground(ground: Ground, shadow: Array, hollow: Array, lamp: Lamp) -> Array:
    """Linear light [S, S, 3] of the ground; one that is far away neither takes a shadow nor has relief."""
    if ground.far:
        return ground.albedo
    slope_x, slope_y = cv2.Sobel(ground.relief, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(ground.relief, cv2.CV_32F, 0, 1) / 8
    length = np.sqrt(slope_x * slope_x + slope_y * slope_y + 1)
    normal = np.stack([-slope_x / length, slope_y / length, 1 / length])
    albedo = ground.albedo.transpose(2, 0, 1)
    lit = _shade(albedo, normal, ground.gloss, shadow, hollow, lamp, ground.mean * 0.3)
    return lit.transpose(1, 2, 0)


def _reduce(dense: Array, side: int) -> Array:
    return cv2.resize(dense, (side, side), interpolation=cv2.INTER_AREA)
