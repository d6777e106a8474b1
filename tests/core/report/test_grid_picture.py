import numpy as np
import pytest

from orthomerge_core.errors import OrthoMergeError
from orthomerge_core.grid.cells import make_grid
from orthomerge_core.recipe.model import ModelRef, Recipe, Row
from orthomerge_core.report.grid_picture import MAX_SIDE, cell_caption, grid_picture

RECIPE = Recipe("base", {"ink": ModelRef("ink")}, (Row("ink"),), method="average")


def tinted(index: int, size: int = 192) -> np.ndarray:
    """A plain image whose color says which cell it belongs to."""
    return np.full((size, size, 3), (index * 7 + 20, 90, 200 - index * 5), dtype=np.uint8)


def box_of(picture: np.ndarray, color: tuple[int, ...]) -> tuple[int, int, int, int]:
    """left, top, width and height of everything of one color."""
    ys, xs = np.nonzero((picture == np.array(color)).all(axis=-1))
    return int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1


def test_both_axes_are_named_in_full():
    pictures = []
    for word in ("x", "a rather long name"):
        recipe = Recipe("base", {word: ModelRef(word)}, (Row(word),), method="average")
        grid = make_grid(recipe, ["strength = 0.5, 1", f"{word}.alpha = 0, 1"])
        pictures.append(grid_picture(grid, [tinted(i) for i in range(4)]))
    short, long = (
        picture[:, : picture.shape[1] // 20].min(axis=(1, 2)) < 128 for picture in pictures
    )
    assert np.nonzero(long)[0].min() < np.nonzero(short)[0].min()
    assert long.sum() > 3 * short.sum()  # rows of pixels with ink in them: it stands upright


@pytest.mark.parametrize(
    "phrases",
    [
        ["ink.alpha = 0..1/5"],
        ["ink.alpha = 0..1/4", "strength = 0.5, 1, 1.5"],
        ["strength = 0.5, 1", "ink.alpha = 0, 1", "method = average, task_arithmetic"],
    ],
)
def test_every_image_stands_whole_at_its_place(phrases: list[str]):
    grid = make_grid(RECIPE, phrases)
    images = [tinted(i) for i in range(len(grid.cells))]
    picture = grid_picture(grid, images, {cell.place: "kept 50 %" for cell in grid.cells})
    boxes = {}
    for cell, image in zip(grid.cells, images, strict=True):
        boxes[cell.place] = box_of(picture, tuple(image[0, 0]))
    assert {box[2:] for box in boxes.values()} == {(192, 192)}
    for place, (left, top, *_) in boxes.items():
        for axis, corner in enumerate((left, top, top)[: len(place)]):
            after = tuple(p + (i == axis) for i, p in enumerate(place))
            if after in boxes:
                assert boxes[after][min(axis, 1)] >= corner + 192


def test_labels_and_captions_are_drawn():
    grid = make_grid(RECIPE, ["ink.alpha = 0, 1", "strength = 0.5, 1"])
    images = [tinted(i) for i in range(4)]
    plain = grid_picture(grid, images)
    captioned = grid_picture(grid, images, {cell.place: "ink 82 %" for cell in grid.cells})
    assert captioned.shape[0] > plain.shape[0]
    left, top, *_ = box_of(plain, tuple(images[0][0, 0]))
    assert (plain[:top, left:] < 128).any()  # column labels
    assert (plain[top:, : left - 8] < 128).any()  # row labels


def test_small_images_are_enlarged_and_large_ones_fit():
    grid = make_grid(RECIPE, ["ink.alpha = 0..1/8", "strength = 0.5, 1, 1.5"])
    small = grid_picture(grid, [tinted(i, 64) for i in range(24)])
    assert small.shape[1] > 8 * 160
    large = grid_picture(grid, [tinted(i, 1536) for i in range(24)])
    assert max(large.shape) <= MAX_SIDE


def test_a_number_of_images_that_does_not_fit_is_named():
    grid = make_grid(RECIPE, ["ink.alpha = 0, 1"])
    with pytest.raises(OrthoMergeError, match="one image for each of 2 cells, received 1"):
        grid_picture(grid, [tinted(0)])


def test_the_caption_names_what_is_known():
    assert cell_caption({"ink": 0.824, "paint": None, "wash": 1.0}) == "ink 82 % · wash 100 %"
