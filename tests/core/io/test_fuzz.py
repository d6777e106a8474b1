"""Files made from each format's grammar, with lies: values or a named error, nothing else."""

from __future__ import annotations

import warnings

import pytest

from benchmarks.fuzz_formats import BUILDERS, exercise


@pytest.mark.parametrize("form", BUILDERS)
def test_lying_files_end_in_values_or_a_named_error(form, tmp_path):
    if form == "gguf":
        pytest.importorskip("gguf")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, about the random scales of blocks
        ends = {exercise(form, seed, tmp_path) for seed in range(300)}
    assert "read" in ends and "HeaderError" in ends
