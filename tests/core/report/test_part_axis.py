"""Names under a row of parts, and that no text of the analysis' picture covers another."""

import numpy as np
import pytest

from orthomerge_core.analysis.stream import analyze
from orthomerge_core.keys.align import align
from orthomerge_core.keys.setspec import ModelSpec, Repairs
from orthomerge_core.report import analysis_plots
from orthomerge_core.report.part_axis import Run, runs_of
from tests.core.analysis.family import family
from tests.fakes import MemorySource
from tests.inventories import inventory, shrunk


def test_numbered_neighbours_share_a_name():
    parts = [
        "in",
        *(f"double.{i}" for i in range(4)),
        *(f"single.{i}" for i in (0, 2, 3, 5)),
        "out",
    ]
    assert runs_of(parts) == [
        Run("double", 1, 5, ("0", "1", "2", "3")),
        Run("single", 5, 9, ("0", "2", "3", "5")),
    ]


def test_few_or_unnumbered_parts_keep_their_names():
    assert runs_of(["a.0", "a.1", "a.2", "b.0", "c", "d", "e", "f", "g"]) == []


def flux_like(count):
    """An analysis with the blocks of a real Flux, each tensor shrunk."""
    base, models = family(count, shapes=shrunk(inventory("flux1-dev"), 128))
    sources = [
        (ModelSpec(f"some-model-{name}", f"{name}.safetensors"), MemorySource(f"{name}", tensors))
        for name, tensors in models.items()
    ]
    opened = align(MemorySource("base", base), sources, "flux1", Repairs(skip_misfits=False))
    return analyze(opened, rank_samples=1)


@pytest.mark.parametrize("count", [1, 2, 4, 12, 32])
def test_all_texts_are_legible_apart_and_inside(count, monkeypatch):
    figures = []
    finished = analysis_plots.finished
    monkeypatch.setattr(
        analysis_plots, "finished", lambda figure: (figures.append(figure), finished(figure))[1]
    )
    height, width, _ = analysis_plots.heatmaps(flux_like(count)).shape
    names, boxes = [], []
    for text in _texts(figures[0]):
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height, text.get_text()
        assert text.get_fontsize() >= 5.4, text.get_text()
        if text.get_rotation() == 0:
            names.append(text.get_text())
            boxes.append([box.p0, box.p1])
    low, high = np.array(boxes).transpose(1, 0, 2)
    shared = np.minimum(high, high[:, None]) - np.maximum(low, low[:, None])
    covers = np.triu((shared > (1, 3)).all(axis=-1), 1)  # a box is a line's full height
    assert not [f"{names[i]!r} covers {names[j]!r}" for i, j in np.argwhere(covers)]


def _texts(figure):
    from matplotlib.text import Text

    return [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]


def test_a_block_family_is_written_once(monkeypatch):
    figures = []
    finished = analysis_plots.finished
    monkeypatch.setattr(
        analysis_plots, "finished", lambda figure: (figures.append(figure), finished(figure))[1]
    )
    analysis_plots.heatmaps(flux_like(2))
    written = [t.get_text() for t in _texts(figures[0])]
    assert written.count("double_blocks") == 1 and written.count("single_blocks") == 1
    assert not any("single_blocks." in text for text in written)
    assert np.isin(["img_in", "txt_in", "final_layer"], written).all()
