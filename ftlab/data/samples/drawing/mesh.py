"""Triangle meshes of a scene's surfaces: perspective projection, rasterization and interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from ftlab.data.samples.drawing.surfaces import Array, Surface, grid_normals

SAMPLES_PER_PIXEL_SIDE = 2  # supersampling in each direction
_EYE_DISTANCE = 5.0  # from the viewer to the toy's center, in units of the toy's frame
_SUBPIXEL_BITS = 4  # fractional bits of the triangle corners that OpenCV fills between
_CENTER_SIDE_FRACTION = 224 / 256  # of the image's side: the evaluation crop of most networks
_MARGIN_PIXELS = 2  # that stay free within the crop on each side, for the lens blur


@dataclass(frozen=True)
class Mesh:
    """T triangles in supersampled pixels, grouped by surface, within a surface the farthest first.

    Attributes:
        corners: float32 [T, 3, 3], x to the right, y down, z towards the viewer.
        normals: [T, 3, 3], of each corner.
        attributes: [T, 3, 5], of each corner: u, v, and x, y, z in the toy's frame.
        surface_index: [T].
    """

    corners: Array
    normals: Array
    attributes: Array
    surface_index: Array


def project_surfaces(
    surfaces: list[Surface], object_rotation: Array, span: float, position: tuple[float, float], side: int
) -> Mesh:
    """Return the visible triangles of an object in perspective projection.

    Args:
        surfaces: the object.
        object_rotation: rotation matrix, [3, 3].
        span: size of the object in pixels, see `scene.render_scene`.
        position: position of its bounding box in the space that remains, (x, y) in [0, 1].
        side: width and height of the image in pixels.
    """
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
        # Each cell of the grid is two triangles.
        triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
        attribute_blocks.append(vertex_attributes[triangles])
        corner_blocks.append((surface.points.reshape(-1, 3) @ object_rotation.T)[triangles])
        normal_blocks.append((grid_normals(surface.points).reshape(-1, 3) @ object_rotation.T)[triangles])
        surface_blocks.append(np.full(len(triangles), i))
        cull_blocks.append(np.full(len(triangles), surface.is_closed))
    points, corner_normals = np.concatenate(corner_blocks), np.concatenate(normal_blocks)
    points = points * (_EYE_DISTANCE / (_EYE_DISTANCE - points[..., 2:]))
    points[..., 1] *= -1  # image rows run downwards
    box_min, box_max = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    box_size = (box_max - box_min)[:2]
    inner_side = side * _CENTER_SIDE_FRACTION - 2 * _MARGIN_PIXELS
    # The wanted area, but neither very long nor larger than the central square.
    scale = min(span / np.sqrt(box_size[0] * box_size[1]), 1.3 * span / box_size.max(), inner_side / box_size.max())
    free_space = inner_side - box_size * scale
    origin = (side - inner_side) / 2 + free_space * np.array(position) - box_min[:2] * scale
    points[..., :2] = points[..., :2] * scale + origin
    points[..., 2] = (points[..., 2] - box_min[2]) * scale
    surface_index = np.concatenate(surface_blocks)
    # The last key is the first criterion: by surface, then by depth.
    order = np.lexsort((points[..., 2].mean(axis=1), surface_index))
    # Back faces of closed surfaces are dropped, with a margin, as normals are interpolated.
    order = order[~(np.concatenate(cull_blocks) & (corner_normals[..., 2].mean(axis=1) < -0.05))[order]]
    return Mesh(
        (points[order] * SAMPLES_PER_PIXEL_SIDE).astype(np.float32),
        corner_normals[order],
        np.concatenate(attribute_blocks)[order],
        surface_index[order],
    )


def rasterize_mesh(mesh: Mesh, side: int) -> tuple[Array, Array]:
    """Return which triangle each sample shows (a visibility buffer).

    Within a surface nearer triangles are painted over farther ones (painter's algorithm); between surfaces, which may
    intersect, the depth at each sample decides.

    Args:
        mesh: the triangles.
        side: width and height of the supersampled image.

    Returns:
        Index of the triangle plus 1, 0 for none, int32 [side, side]; and the depth, float32 [side, side].
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
        s, t = barycentric_weights(mesh, triangle_index, x, y)
        sample_depth = interpolate_corners(mesh.corners[..., 2], triangle_index, s, t)
        is_nearer = sample_depth > depth[y, x]
        y, x = y[is_nearer], x[is_nearer]
        triangle_ids[y, x], depth[y, x] = triangle_index[is_nearer] + 1, sample_depth[is_nearer]
    return triangle_ids, depth


def barycentric_weights(mesh: Mesh, triangle_index: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """Return the weights [n] of the second and the third corner of triangles, at samples.

    Args:
        mesh: the triangles.
        triangle_index: [n].
        x: [n], column of each sample.
        y: [n], row of each sample.
    """
    a, b, c = (mesh.corners[:, k, :2] for k in range(3))
    ab, ac = b - a, c - a
    doubled_area = ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]
    # Triangles seen edge-on have no area, and are divided by it.
    doubled_area = np.where(np.abs(doubled_area) < 1e-4, np.float32(1e-4), doubled_area)
    dx = x.astype(np.float32) + np.float32(0.5) - np.take(a[:, 0], triangle_index)
    dy = y.astype(np.float32) + np.float32(0.5) - np.take(a[:, 1], triangle_index)
    # Quotients per triangle, not per sample: there are far fewer triangles.
    s = dx * np.take(ac[:, 1] / doubled_area, triangle_index) - dy * np.take(ac[:, 0] / doubled_area, triangle_index)
    t = dy * np.take(ab[:, 0] / doubled_area, triangle_index) - dx * np.take(ab[:, 1] / doubled_area, triangle_index)
    # OpenCV fills triangles up to half a sample beyond their edges: there, take the nearest point on the triangle.
    s, t = np.clip(s, 0, 1), np.clip(t, 0, 1)
    excess = np.maximum(s + t, 1)
    return s / excess, t / excess


def interpolate_corners(corners: Array, triangle_index: Array, s: Array, t: Array) -> Array:
    """Return a corner attribute interpolated at samples, [n].

    Args:
        corners: [T, 3], value at each corner.
        triangle_index: [n].
        s: [n], weight of the second corner.
        t: [n], weight of the third corner.
    """
    a, b, c = np.ascontiguousarray(corners.T)
    values: Array = np.take(a, triangle_index) + s * np.take(b - a, triangle_index) + t * np.take(c - a, triangle_index)
    return values
