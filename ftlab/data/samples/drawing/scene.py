"""A small renderer: surfaces in front of a background, lit by one lamp and a sky.

A visibility buffer tells which triangle each sample shows (Burns and Hunt, 2013, "The Visibility Buffer"); normals and
surface coordinates are interpolated from its corners, painted and lit. Shadows and ambient occlusion come from the
image's height field, background included. Samples are twice as dense as pixels in each direction.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ftlab.data.samples.drawing.mesh import (
    SAMPLES_PER_PIXEL_SIDE,
    barycentric_weights,
    interpolate_corners,
    project_surfaces,
    rasterize_mesh,
)
from ftlab.data.samples.drawing.surfaces import Array, Surface
from ftlab.data.samples.drawing.texture import Background


@dataclass(frozen=True)
class Lighting:
    """Light of a scene.

    Attributes:
        direction: [3], unit vector from the scene to the lamp (x right, y up, z towards the viewer).
        color: [3], linear RGB of the lamp; 1 is plain white.
        ambient: [3], linear RGB of the light from everywhere else.
    """

    direction: Array
    color: Array
    ambient: Array


def rotation_matrix(yaw: float, pitch: float, roll: float) -> Array:
    """Return the matrix [3, 3] that rotates about y, then x, then z.

    Args:
        yaw: angle about y in degrees.
        pitch: angle about x in degrees.
        roll: angle about z in degrees.
    """
    a, b, c = np.deg2rad([yaw, pitch, roll])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    rotation: Array = (about_z @ about_x @ about_y).astype(np.float32)
    return rotation


def render_scene(
    surfaces: list[Surface],
    object_rotation: Array,
    span: float,
    position: tuple[float, float],
    background: Background,
    lighting: Lighting,
) -> tuple[Array, Array]:
    """Render an object in front of a background.

    Args:
        surfaces: the object.
        object_rotation: rotation matrix, [3, 3].
        span: size of the object in pixels: side of the square with the area of its bounding box, whose longer side is
            at most 1.3 times that.
        position: position of its bounding box in the space that remains of the central square, (x, y) in [0, 1].
        background: background of S × S pixels.
        lighting: the light.

    Returns:
        The image, float32 [S, S, 3] linear RGB, not clipped, and the object's coverage, float32 [S, S] in [0, 1].
    """
    side = background.albedo.shape[0]
    mesh = project_surfaces(surfaces, object_rotation, span, position, side)
    triangle_ids, depth = rasterize_mesh(mesh, side * SAMPLES_PER_PIXEL_SIDE)
    sample_indices = np.flatnonzero(triangle_ids)
    triangle_index = triangle_ids.ravel()[sample_indices].astype(np.intp) - 1
    weights = barycentric_weights(mesh, triangle_index, *np.divmod(sample_indices, side * SAMPLES_PER_PIXEL_SIDE)[::-1])
    attributes = np.stack([interpolate_corners(mesh.attributes[..., k], triangle_index, *weights) for k in range(5)])
    normal = np.stack([interpolate_corners(mesh.normals[..., k], triangle_index, *weights) for k in range(3)])
    # Unit length, and towards the viewer: open surfaces are seen from both sides.
    normal /= np.copysign(np.sqrt(_dot_product(normal, normal)) + np.float32(1e-9), normal[2])
    surface_index = mesh.surface_index[triangle_index]
    albedo = np.empty((3, len(triangle_index)), np.float32)
    for i, surface in enumerate(surfaces):
        surface_samples = np.flatnonzero(surface_index == i)
        coordinates = np.take(attributes, surface_samples, axis=1)
        albedo[:, surface_samples] = surface.paint(coordinates[0], coordinates[1], coordinates[2:])
    gloss = np.array([surface.gloss for surface in surfaces], np.float32)[surface_index]

    coverage = _downsample_area((triangle_ids > 0).astype(np.float32), side)
    relief = _downsample_area(np.maximum(depth, 0) / SAMPLES_PER_PIXEL_SIDE, side)
    shadow, occlusion = _cast_shadows(relief, lighting.direction), _ambient_occlusion(relief)
    sun_visibility, sky_visibility = (
        cv2.resize(x, triangle_ids.shape, interpolation=cv2.INTER_NEAREST).ravel()[sample_indices]
        for x in (shadow, occlusion)
    )
    shaded_samples = _shade_samples(
        albedo, normal, gloss, sun_visibility, sky_visibility, lighting, background.mean_color * 0.5
    )
    # Samples without an object stay black, so that the mean is premultiplied by coverage.
    dense = np.zeros((3, triangle_ids.size), np.float32)
    dense[:, sample_indices] = shaded_samples
    foreground = np.stack([_downsample_area(channel.reshape(triangle_ids.shape), side) for channel in dense], axis=-1)
    return foreground + _shade_background(background, shadow, occlusion, lighting) * (1 - coverage[..., None]), coverage


def _cast_shadows(relief: Array, direction: Array) -> Array:
    """Return how much of the lamp each pixel sees, [S, S] in [0, 1].

    Ray marching over the height field, at half its resolution.

    Args:
        relief: [S, S], height in pixels.
        direction: [3], unit vector towards the lamp.
    """
    side = relief.shape[0]
    heights = _downsample_area(relief, side // 2)
    blocking = np.zeros_like(heights)
    step_count = 20
    for k in range(1, step_count + 1):
        # Blockers lie towards the lamp, farther away the higher the ray has risen.
        ray_height = float(heights.max()) * k / step_count
        dx, dy = ray_height * direction[0] / direction[2] / 2, -ray_height * direction[1] / direction[2] / 2
        shift_matrix = np.array([[1, 0, -dx], [0, 1, -dy]], np.float32)
        height = cv2.warpAffine(heights, shift_matrix, heights.shape, flags=cv2.INTER_LINEAR)
        # A surface's own roughness must not shade it: blockers count from a few pixels above it.
        blocking = np.maximum(blocking, np.clip((height - heights - (ray_height + 2.5)) / 10, 0, 1))
    blocking = cv2.GaussianBlur(blocking, (0, 0), side / 220)
    return 1 - cv2.resize(blocking, (side, side), interpolation=cv2.INTER_LINEAR)


def _ambient_occlusion(relief: Array) -> Array:
    """Return dimming where the surroundings are higher, [S, S] in [0.45, 1] (Luft, Colditz, Deussen, 2006)."""
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
    """Return the linear light that samples send to the viewer: wrapped diffuse, sky and bounce light, highlight, sheen.

    Args:
        albedo: [3, ...], channels first so that numpy runs along the samples.
        normal: [3, ...].
        gloss: [...] in [0, 1].
        sun_visibility: [...] in [0, 1].
        occlusion: [...] in [0, 1].
        lighting: the light.
        bounce_light: [3], light reflected by the background.
    """
    ambient, light_color, bounce_color = (
        np.expand_dims(c, tuple(range(1, albedo.ndim))) for c in (lighting.ambient, lighting.color, bounce_light)
    )
    # Wrapped diffuse: light reaches a little around the edge, as with a large lamp.
    direct = np.clip(_dot_product(normal, lighting.direction) * 0.9 + 0.1, 0, 1) * sun_visibility
    upward = normal[1] * 0.5 + 0.5
    ambient_light = (bounce_color + ambient * 0.25 + (ambient * 0.75 - bounce_color) * upward) * occlusion
    half_vector = lighting.direction + np.array([0, 0, 1], np.float32)
    glint = np.clip(_dot_product(normal, half_vector / np.linalg.norm(half_vector)), 0, 1) - 1
    specular = gloss * (0.9 * np.exp((20 + 160 * gloss) * glint) + 0.12 * np.exp(12 * glint)) * sun_visibility
    # Fresnel: surfaces seen at a grazing angle reflect the sky.
    sheen = np.square(np.square(1 - np.clip(normal[2], 0, 1))) * (0.12 + 0.3 * gloss) * upward * occlusion
    light: Array = albedo * (direct * light_color + ambient_light) + specular * light_color + sheen * ambient
    return light


def _dot_product(normal: Array, direction: Array) -> Array:
    """Return the dot product of [3, ...] with [3] or [3, ...]."""
    product: Array = normal[0] * direction[0] + normal[1] * direction[1] + normal[2] * direction[2]
    return product


def _shade_background(background: Background, shadow: Array, occlusion: Array, lighting: Lighting) -> Array:
    """Return the linear light of the background, [S, S, 3]; a distant one has neither shadow nor relief."""
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
    """Return the mean over the samples of each pixel, [side, side]."""
    return cv2.resize(dense, (side, side), interpolation=cv2.INTER_AREA)
