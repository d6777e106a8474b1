from dataclasses import replace

import numpy as np
import pytest

from orthomerge_core.report.merge_plots import retention_picture
from tests.core.report.test_merge_text import REPORT


@pytest.mark.parametrize("dark", [False, True])
def test_the_picture_has_bars_and_blocks_and_a_paper(dark):
    pixels = retention_picture(REPORT, dark)
    assert pixels.dtype == np.uint8
    assert pixels.shape[1:] == (1024, 3)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 10
    assert (pixels[0, 0] < 128).all() == dark


def test_more_is_left_more_bar_is_drawn():
    blue = np.array([0, 0x72, 0xB2])

    def painted(share):
        report = replace(REPORT, retention={"a|b": share, "idle": None})
        return int((retention_picture(report) == blue).all(axis=2).sum())

    assert 0 < painted(0.2) < painted(0.8)
    assert painted(None) == 0


def test_no_rows_and_many_blocks():
    empty = replace(REPORT, retention={}, retention_by_block={}, leave_one_out={})
    assert retention_picture(empty).shape == (88, 1024, 3)
    shares = {f"double_blocks.{i}": (i - 30) / 30 for i in range(76)}
    many = replace(REPORT, retention={"a": 1.4}, retention_by_block={"a": shares})
    assert retention_picture(many).shape[1:] == (1024, 3)


def test_the_scale_has_the_strips_colours():
    shares = {f"blocks.{i}": share for i, share in enumerate((-1.0, 0.0, 1.0))}
    report = replace(REPORT, retention={"a": 0.5}, retention_by_block={"a": shares})
    pixels = retention_picture(report)
    strip_row = 44 + 34 + 44 + 13  # the middle of the only row
    wanted = [pixels[strip_row, x] for x in (300, 595, 900)]
    scale_row = 44 + 34 + 15
    found = [pixels[scale_row, 1024 - 24 - 180 + x] for x in (1, 90, 178)]
    np.testing.assert_allclose(np.int16(found), np.int16(wanted), atol=12)
