"""A labeled picture of a grid: axis titles, labels of columns and rows, a caption per cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import OrthoMergeError
from ..grid.cells import Grid

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

__all__ = ["MAX_SIDE", "cell_caption", "grid_picture"]

MAX_SIDE = 8192
"""Pixels; images are scaled down until neither side of the picture is longer."""

_LEAST_CELL = 160
_TITLE_LINE = 1.7  # height of the rows' title, in heights of the text
_PAPER, _INK, _FAINT = (255, 255, 255), (26, 26, 26), (89, 89, 89)


@dataclass(frozen=True)
class _Layout:
    """Sizes in pixels. `cell` is the image's; `left` and `top` are the room of labels."""

    cell: tuple[int, int]
    left: int
    top: int
    caption: int
    gap: int
    text: int

    def place(self, x: int, y: int, offset: int) -> tuple[int, int]:
        """Upper left corner of a cell's image on a page that starts at `offset`."""
        width, height = self.cell
        return (
            self.left + x * (width + self.gap),
            offset + self.top + y * (height + self.caption + self.gap),
        )


def grid_picture(
    grid: Grid,
    images: Sequence[NDArray[np.uint8] | None],
    captions: Mapping[tuple[int, ...], str] | None = None,
) -> NDArray[np.uint8]:
    """uint8 [H, W, 3]: the images at their places, with labels that can be read.

    Args:
        grid: axes and cells; its third axis becomes pages below each other.
        images: uint8 [h, w, 3], one per cell in the order of `grid.cells`, None for cells that are
            not made; the first one's size is every cell's.
        captions: place → words under a cell, such as what was kept of each row.

    Raises:
        OrthoMergeError: there are not as many images as cells, or none.
        ImportError: Pillow is not installed.
    """
    from PIL import Image, ImageDraw

    first = next((image for image in images if image is not None), None)
    if first is None or len(images) != len(grid.cells):
        raise OrthoMergeError(
            "grid picture",
            expected=f"one image for each of {len(grid.cells)} cells",
            received=len(images),
            fix="Connect the grid that the recipes came from, and one image per recipe.",
        )
    layout = _layout(grid, first.shape[1], first.shape[0], bool(captions))
    columns, rows, pages = (*grid.shape, 1, 1)[:3]
    width = layout.place(columns, 0, 0)[0]
    page_height = layout.place(0, rows, 0)[1] + layout.text
    canvas = Image.new("RGB", (width, page_height * pages), _PAPER)
    draw = ImageDraw.Draw(canvas)
    by_place = {cell.place: image for cell, image in zip(grid.cells, images, strict=True)}
    for number, (title, cells) in enumerate(grid.pages()):
        offset = number * page_height
        _labels(draw, grid, layout, offset, title, width)
        if len(grid.axes) > 1:
            high = layout.place(0, rows, offset)[1] - offset - layout.top
            _row_title(canvas, grid.axes[1].name, layout, offset, high)
        for y, row in enumerate(cells):
            for x, cell in enumerate(row):
                image = by_place[cell.place] if cell is not None else None
                if cell is not None and image is not None:
                    words = (captions or {}).get(cell.place, "")
                    _cell(
                        canvas,
                        draw,
                        image,
                        layout.place(x, y, offset),
                        layout,
                        words,
                    )
    return np.asarray(canvas)


def _layout(grid: Grid, width: int, height: int, captions: bool) -> _Layout:
    columns, rows, pages = (*grid.shape, 1, 1)[:3]
    for scale in (1.0, 0.75, 0.5, 0.375, 0.25, 0.125):
        cell = (max(round(width * scale), 1), max(round(height * scale), 1))
        if cell[0] < _LEAST_CELL:  # small images are enlarged by whole steps, so that labels fit
            step = math.ceil(_LEAST_CELL / cell[0])
            cell = (cell[0] * step, cell[1] * step)
        text = min(max(cell[0] // 16, 13), 28)
        longest = max(map(len, grid.axes[1].labels)) if len(grid.axes) > 1 else 0
        left = text + round(text * 0.66 * min(longest, 24))
        left += round(text * _TITLE_LINE) if len(grid.axes) > 1 else 0
        found = _Layout(
            cell, left, round(text * 4.2), round(text * 1.5) * captions, text // 2, text
        )
        right, bottom = found.place(columns, rows, 0)
        if max(right, bottom * pages) <= MAX_SIDE:
            break
    return found


def _labels(
    draw: ImageDraw, grid: Grid, layout: _Layout, offset: int, title: str, width: int
) -> None:
    """The title of the page, of both axes, and every column's and row's label."""
    bold = layout.text + 3
    heading = f"{title}  ·  {grid.axes[0].name}" if title else grid.axes[0].name
    _text(draw, (layout.left, offset + layout.text // 2), heading, bold, _INK, width - layout.left)
    for x, label in enumerate(grid.axes[0].labels):
        left, top = layout.place(x, 0, offset)
        spot = (left, top - round(layout.text * 1.6))
        _text(draw, spot, label, layout.text, _INK, layout.cell[0])
    if len(grid.axes) < 2:
        return
    first = round(layout.text * (0.5 + _TITLE_LINE))
    for y, label in enumerate(grid.axes[1].labels):
        _, top = layout.place(0, y, offset)
        spot = (first, top + layout.cell[1] // 2 - layout.text)
        _text(draw, spot, label, layout.text, _INK, layout.left - first - layout.text // 2)


def _row_title(canvas: Image, name: str, layout: _Layout, offset: int, high: int) -> None:
    """The name of the rows' axis, read from below, beside the middle of the rows."""
    from PIL import Image, ImageDraw

    line = Image.new("RGB", (high, round(layout.text * _TITLE_LINE)), _PAPER)
    draw = ImageDraw.Draw(line)
    bold = layout.text + 3
    start = max((high - round(draw.textlength(name, font=_font(bold)))) // 2, 0)
    _text(draw, (start, 0), name, bold, _INK, high)
    place = (layout.text // 2, offset + layout.top)
    canvas.paste(line.transpose(Image.Transpose.ROTATE_90), place)


def _cell(
    canvas: Image,
    draw: ImageDraw,
    image: NDArray[np.uint8],
    place: tuple[int, int],
    layout: _Layout,
    words: str,
) -> None:
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(image[..., :3]))
    if picture.size != layout.cell:
        grown = layout.cell[0] >= picture.width
        how = Image.Resampling.NEAREST if grown else Image.Resampling.LANCZOS
        picture = picture.resize(layout.cell, how)
    canvas.paste(picture, place)
    if words:
        spot = (place[0], place[1] + layout.cell[1] + layout.text // 5)
        _text(draw, spot, words, layout.text, _FAINT, layout.cell[0])


def _text(
    draw: ImageDraw,
    place: tuple[int, int],
    words: str,
    size: int,
    color: tuple[int, int, int],
    room: int,
) -> None:
    """One line of at most `room` pixels; smaller down to 11 pixels, then with an ellipsis."""
    while size > 11 and draw.textlength(words, font=_font(size)) > room:
        size -= 1
    shown = words
    while len(shown) > 1 and draw.textlength(shown, font=_font(size)) > room:
        shown = shown[:-2].rstrip() + "…"
    draw.text(place, shown, fill=color, font=_font(size))


def _font(size: int) -> Any:
    """DejaVu Sans where matplotlib brings it, for every script; else Pillow's own."""
    from PIL import ImageFont

    try:
        from matplotlib import get_data_path

        return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)
    except (ImportError, OSError):
        return ImageFont.load_default(size)


def cell_caption(retention: Mapping[str, float | None]) -> str:
    """What a cell's merge keeps of each row: `ink 82 % · paint 79 %`."""
    known = {name: share for name, share in retention.items() if share is not None}
    return " · ".join(f"{name} {share * 100:.0f} %" for name, share in known.items())
