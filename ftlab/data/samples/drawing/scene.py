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

from ftlab.data.samples.drawing.surfaces import Array, Surface, grid_normals
from ftlab.data.samples.drawing.texture import Background

_SAMPLES_PER_PIXEL_SIDE = 2  # samples along a pixel's side
_EYE_DISTANCE = 5.0  # from the viewer to the toy's middle, in the toy's own units
_SUBPIXEL_BITS = 4  # bits after the point, of the corners that OpenCV fills between
_CENTER_SIDE_FRACTION = 224 / 256  # of the shorter side: what networks see
_MARGIN_PIXELS = 2  # pixels that stay free within it on each side, for the lens's blur


@dataclass(frozen=True)
class Lighting:
    """The light of a scene.

    Attributes:
        direction: [3] unit vector from the scene to the lamp (x right, y up, z to the viewer).
        color: [3] linear RGB of its light; 1 is plain white.
        ambient: [3] linear RGB of the light from everywhere else.
    """

    direction: Array
    color: Array
    ambient: Array


@dataclass(frozen=True)
class _Mesh:
    """Triangles in pixels of the dense grid, by surface, and of one surface the farthest first.

    corners [T, 3, 3] (x right, y down, z to the viewer), normal [T, 3, 3], place [T, 3, 5] (u, v, object's x, y, z),
    surface [T] index.
    """

    corners: Array
    normals: Array
    attributes: Array
    surface_index: Array


def rotation_matrix(yaw: float, pitch: float, roll: float) -> Array:
    """The matrix [3, 3] that turns about y, then x, then z; angles in degrees."""
    a, b, c = np.deg2rad([yaw, pitch, roll])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return (about_z @ about_x @ about_y).astype(np.float32)


def render_scene(
    surfaces: list[Surface],
    object_rotation: Array,
    span: float,
    position: tuple[float, float],
    background: Background,
    lighting: Lighting,
) -> tuple[Array, Array]:
    """The picture of an object before a ground.

    Args:
        surfaces: the object.
        object_rotation: its rotation, [3, 3].
        span: side in pixels of the square as large as the object's bounding box; its longer side is at most
            1.3 times that.
        position: where its bounding box lies in what is left of the central square, (x, y) in [0, 1].
        background: what is behind it, [S, S].
        lighting: the light.

    Returns:
        picture [S, S, 3] float32 linear RGB, not clipped, and coverage [S, S] float32 in [0, 1].
    """
    side = background.albedo.shape[0]
    mesh = _project_surfaces(surfaces, object_rotation, span, position, side)
    triangle_ids, depth = _rasterize_mesh(mesh, side * _SAMPLES_PER_PIXEL_SIDE)
    sample_indices = np.flatnonzero(triangle_ids)
    triangle_index = triangle_ids.ravel()[sample_indices].astype(np.intp) - 1
    weights = _barycentric_weights(
        mesh, triangle_index, *np.divmod(sample_indices, side * _SAMPLES_PER_PIXEL_SIDE)[::-1]
    )
    attributes = np.stack([_interpolate_corners(mesh.attributes[..., k], triangle_index, *weights) for k in range(5)])
    normal = np.stack([_interpolate_corners(mesh.normals[..., k], triangle_index, *weights) for k in range(3)])
    normal /= np.copysign(np.sqrt(_dot_product(normal, normal)) + np.float32(1e-9), normal[2])
    surface_index = mesh.surface_index[triangle_index]
    albedo = np.empty((3, len(triangle_index)), np.float32)
    for i, surface in enumerate(surfaces):
        surface_samples = np.flatnonzero(surface_index == i)
        coordinates = np.take(attributes, surface_samples, axis=1)
        albedo[:, surface_samples] = surface.paint(coordinates[0], coordinates[1], coordinates[2:])
    gloss = np.array([surface.gloss for surface in surfaces], np.float32)[surface_index]

    coverage = _downsample_area((triangle_ids > 0).astype(np.float32), side)
    relief = _downsample_area(np.maximum(depth, 0) / _SAMPLES_PER_PIXEL_SIDE, side)
    shadow, occlusion = _cast_shadows(relief, lighting.direction), _ambient_occlusion(relief)
    sun_visibility, sky_visibility = (
        cv2.resize(x, triangle_ids.shape, interpolation=cv2.INTER_NEAREST).ravel()[sample_indices]
        for x in (shadow, occlusion)
    )
    shaded_samples = _shade_samples(
        albedo, normal, gloss, sun_visibility, sky_visibility, lighting, background.mean_color * 0.5
    )
    dense = np.zeros((3, triangle_ids.size), np.float32)
    dense[:, sample_indices] = shaded_samples
    foreground = np.stack([_downsample_area(channel.reshape(triangle_ids.shape), side) for channel in dense], axis=-1)
    return foreground + _shade_background(background, shadow, occlusion, lighting) * (1 - coverage[..., None]), coverage


def _project_surfaces(
    surfaces: list[Surface], object_rotation: Array, span: float, position: tuple[float, float], side: int
) -> _Mesh:
    corner_blocks, normal_blocks, attribute_blocks, surface_blocks, cull_blocks = [], [], [], [], []
    for i, surface in enumerate(surfaces):
        m, n = surface.points.shape[:2]
        v, u = np.meshgrid(np.linspace(0, 1, m), np.linspace(0, 1, n), indexing="ij")
        vertex_attributes = (
            np.concatenate([u[..., None], v[..., None], surface.points], axis=-1).astype(np.float32).reshape(-1, 5)
        )
        vertex_ids = np.arange(m * n).reshape(m, n)
        a, b, c, d = (
            x.ravel() for x in (vertex_ids[:-1, :-1], vertex_ids[:-1, 1:], vertex_ids[1:, 1:], vertex_ids[1:, :-1])
        )
        triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
        attribute_blocks.append(vertex_attributes[triangles])
        corner_blocks.append((surface.points.reshape(-1, 3) @ object_rotation.T)[triangles])
        normal_blocks.append((grid_normals(surface.points).reshape(-1, 3) @ object_rotation.T)[triangles])
        surface_blocks.append(np.full(len(triangles), i))
        cull_blocks.append(np.full(len(triangles), surface.is_closed))
    points, corner_normals = np.concatenate(corner_blocks), np.concatenate(normal_blocks)
    points = points * (_EYE_DISTANCE / (_EYE_DISTANCE - points[..., 2:]))
    points[..., 1] *= -1
    box_min, box_max = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    box_size = (box_max - box_min)[:2]
    inner_side = side * _CENTER_SIDE_FRACTION - 2 * _MARGIN_PIXELS
    scale = min(span / np.sqrt(box_size[0] * box_size[1]), 1.3 * span / box_size.max(), inner_side / box_size.max())
    free_space = inner_side - box_size * scale
    origin = (side - inner_side) / 2 + free_space * np.array(position) - box_min[:2] * scale
    points[..., :2] = points[..., :2] * scale + origin
    points[..., 2] = (points[..., 2] - box_min[2]) * scale
    surface_index = np.concatenate(surface_blocks)
    order = np.lexsort((points[..., 2].mean(axis=1), surface_index))
    order = order[~(np.concatenate(cull_blocks) & (corner_normals[..., 2].mean(axis=1) < -0.05))[order]]
    return _Mesh(
        (points[order] * _SAMPLES_PER_PIXEL_SIDE).astype(np.float32),
        corner_normals[order],
        np.concatenate(attribute_blocks)[order],
        surface_index[order],
    )


def _rasterize_mesh(mesh: _Mesh, side: int) -> tuple[Array, Array]:
    """Number of the triangle seen at each sample, from 1, 0 where there is none; and its depth. [side, side] each.

    Within a surface the nearer triangle is painted over the farther one; between surfaces, which may cut through each
    other, the depth at the sample decides.
    """
    triangle_ids = np.zeros((side, side), np.int32)
    depth = np.full((side, side), -1, np.float32)
    fixed_corners = np.round((mesh.corners[..., :2] - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    starts = np.flatnonzero(np.diff(mesh.surface_index, prepend=-1, append=-1))
    for first, last in pairwise(starts.tolist()):
        left, top = fixed_corners[first:last].min(axis=(0, 1)) >> _SUBPIXEL_BITS
        right, bottom = (fixed_corners[first:last].max(axis=(0, 1)) >> _SUBPIXEL_BITS) + 2
        surface_ids = np.zeros((bottom - top, right - left), np.int32)
        corner = np.array([left, top], np.int32) << _SUBPIXEL_BITS
        for i, triangle in enumerate(fixed_corners[first:last] - corner, start=first + 1):
            cv2.fillConvexPoly(surface_ids, triangle, i, cv2.LINE_8, _SUBPIXEL_BITS)
        y, x = np.nonzero(surface_ids)
        triangle_index = surface_ids[y, x].astype(np.intp) - 1
        y, x = y + top, x + left
        s, t = _barycentric_weights(mesh, triangle_index, x, y)
        sample_depth = _interpolate_corners(mesh.corners[..., 2], triangle_index, s, t)
        is_nearer = sample_depth > depth[y, x]
        y, x = y[is_nearer], x[is_nearer]
        triangle_ids[y, x], depth[y, x] = triangle_index[is_nearer] + 1, sample_depth[is_nearer]
    return triangle_ids, depth


def _barycentric_weights(mesh: _Mesh, triangle_index: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """Weights [n] of a triangle's second and third corner at samples."""
    a, b, c = (mesh.corners[:, k, :2] for k in range(3))
    ab, ac = b - a, c - a
    doubled_area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    doubled_area = np.where(np.abs(doubled_area) < 1e-4, np.float32(1e-4), doubled_area)
    dx = x.astype(np.float32) + np.float32(0.5) - np.take(a[:, 0], triangle_index)
    dy = y.astype(np.float32) + np.float32(0.5) - np.take(a[:, 1], triangle_index)
    s = dx * np.take(ac[:, 1] / doubled_area, triangle_index) - dy * np.take(ac[:, 0] / doubled_area, triangle_index)
    t = dy * np.take(ab[:, 0] / doubled_area, triangle_index) - dx * np.take(ab[:, 1] / doubled_area, triangle_index)
    # A filled triangle reaches half a sample over its edges: there, take the nearest place on it.
    s, t = np.clip(s, 0, 1), np.clip(t, 0, 1)
    excess = np.maximum(s + t, 1)
    return s / excess, t / excess


def _interpolate_corners(corners: Array, triangle_index: Array, s: Array, t: Array) -> Array:
    """What three corners [T, 3] hold, at samples [n]."""
    a, b, c = np.ascontiguousarray(corners.T)
    return np.take(a, triangle_index) + s * np.take(b - a, triangle_index) + t * np.take(c - a, triangle_index)


def _cast_shadows(relief: Array, direction: Array) -> Array:
    """How much of the lamp each pixel sees, [S, S] in [0, 1]: a march over the height field, at half its density."""
    side = relief.shape[0]
    heights = _downsample_area(relief, side // 2)
    blocking = np.zeros_like(heights)
    step_count = 20
    for k in range(1, step_count + 1):
        ray_height = float(heights.max()) * k / step_count
        dx, dy = ray_height * direction[0] / direction[2] / 2, -ray_height * direction[1] / direction[2] / 2
        shift_matrix = np.array([[1, 0, -dx], [0, 1, -dy]], np.float32)
        height = cv2.warpAffine(heights, shift_matrix, heights.shape, flags=cv2.INTER_LINEAR)
        # Right at the surface its own roughness would shade it: blockers count from a few pixels up.
        blocking = np.maximum(blocking, np.clip((height - heights - (ray_height + 2.5)) / 10, 0, 1))
    blocking = cv2.GaussianBlur(blocking, (0, 0), side / 220)
    return 1 - cv2.resize(blocking, (side, side), interpolation=cv2.INTER_LINEAR)


def _ambient_occlusion(relief: Array) -> Array:
    """Dimming [S, S] in [0.45, 1] where the surroundings stand higher (Luft, Colditz, Deussen, 2006)."""
    side = relief.shape[0]
    dimming = np.zeros_like(relief)
    for sigma in (side / 80, side / 24):
        dimming += np.clip((cv2.GaussianBlur(relief, (0, 0), sigma) - relief) / (sigma * 4), 0, 1)
    return 1 - 0.55 * np.clip(dimming, 0, 1)


def _shade_samples(
    albedo: Array,
    normal: Array,
    gloss: Array | float,
    sun_visibility: Array,
    occlusion: Array,
    lighting: Lighting,
    bounce_light: Array,
) -> Array:
    """Linear light that samples send to the viewer: wrapped diffuse, sky and ground, highlight, sheen.

    Args:
        albedo, normal: [3, ...], channels first so that numpy runs along the samples.
        gloss, sun_visibility, occlusion: [...], in [0, 1].
        lighting: the light.
        bounce_light: [3], light that comes back from the ground.
    """
    ambient, light_color, bounce_color = (
        np.expand_dims(c, tuple(range(1, albedo.ndim))) for c in (lighting.ambient, lighting.color, bounce_light)
    )
    direct = np.clip(_dot_product(normal, lighting.direction) * 0.9 + 0.1, 0, 1) * sun_visibility
    upward = normal[1] * 0.5 + 0.5
    ambient_light = (bounce_color + ambient * 0.25 + (ambient * 0.75 - bounce_color) * upward) * occlusion
    half_vector = lighting.direction + np.array([0, 0, 1], np.float32)
    glint = np.clip(_dot_product(normal, half_vector / np.linalg.norm(half_vector)), 0, 1) - 1
    specular = gloss * (0.9 * np.exp((20 + 160 * gloss) * glint) + 0.12 * np.exp(12 * glint)) * sun_visibility
    sheen = np.square(np.square(1 - np.clip(normal[2], 0, 1))) * (0.12 + 0.3 * gloss) * upward * occlusion
    return albedo * (direct * light_color + ambient_light) + specular * light_color + sheen * ambient


def _dot_product(normal: Array, direction: Array) -> Array:
    return normal[0] * direction[0] + normal[1] * direction[1] + normal[2] * direction[2]


def _shade_background(background: Background, shadow: Array, occlusion: Array, lighting: Lighting) -> Array:
    """Linear light [S, S, 3] of the ground; one that is far away neither takes a shadow nor has relief."""
    if background.is_distant:
        return background.albedo
    slope_x, slope_y = (
        cv2.Sobel(background.relief, cv2.CV_32F, 1, 0) / 8,
        cv2.Sobel(background.relief, cv2.CV_32F, 0, 1) / 8,
    )
    length = np.sqrt(slope_x * slope_x + slope_y * slope_y + 1)
    normal = np.stack([-slope_x / length, slope_y / length, 1 / length])
    albedo = background.albedo.transpose(2, 0, 1)
    shaded_samples = _shade_samples(
        albedo, normal, background.gloss, shadow, occlusion, lighting, background.mean_color * 0.3
    )
    return shaded_samples.transpose(1, 2, 0)


def _downsample_area(dense: Array, side: int) -> Array:
    return cv2.resize(dense, (side, side), interpolation=cv2.INTER_AREA)
