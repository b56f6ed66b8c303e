"""Color palettes. Every toy comes in every palette."""

from __future__ import annotations

from ftlab.data.samples.drawing.surfaces import Array, hex_to_linear_rgb

Palette = tuple[Array, Array, Array]
"""Main, second and light color: linear RGB, float32 [3] each."""

PALETTES: tuple[Palette, ...] = tuple(
    (hex_to_linear_rgb(main), hex_to_linear_rgb(second), hex_to_linear_rgb(light))
    for main, second, light in (
        ("d62839", "f4a259", "fff4e6"),
        ("1d6fb8", "f2c14e", "f3f7fb"),
        ("2a9d62", "f1e3a0", "fbfaf2"),
        ("f2b21b", "d9482b", "fff8e1"),
        ("7b3fa0", "f28ab2", "f8effa"),
        ("e8618c", "7fd1c7", "fff3f6"),
        ("1f9aa8", "f26b4e", "f0fbfb"),
        ("ee7623", "27476e", "fff3e8"),
        ("24365e", "e94f64", "eef1f8"),
        ("8bbf3f", "3b6b35", "f7fbea"),
        ("a8472e", "e8c99b", "fbf3ea"),
        ("4c5bd4", "8fd3ff", "f1f3ff"),
        ("c93a8f", "ffd23f", "fff0f8"),
        ("3c3f46", "c9ced6", "f6f6f4"),
        ("9cd3e6", "ef8354", "ffffff"),
        ("e9dcc3", "b5533c", "ffffff"),
    )
)

WOOD = hex_to_linear_rgb("8a5a33")
STRAW = hex_to_linear_rgb("c79a5b")
BLACK = hex_to_linear_rgb("17171a")
WHITE = hex_to_linear_rgb("fafafa")
STEEL = hex_to_linear_rgb("b9bcc2")
