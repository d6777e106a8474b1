"""Equal weights under two names."""

from __future__ import annotations

from orthomerge_core.keys.align import align
from tests.core.keys.small import sd3, source


def test_duplicates_are_named_and_cheap_where_models_differ():
    base = source("b", sd3())
    other = source("o", sd3(2), "model.diffusion_model.")
    models = [("one", source("1", sd3(1))), ("two", source("2", sd3(1))), ("o", other)]
    copy = source("c", sd3(), "model.diffusion_model.")
    aligned = align(base, [*models, ("copy", copy)])
    found = {m.name: m.report.duplicate_of for m in aligned.models}
    assert found == {"one": None, "two": "one", "o": None, "copy": "base"}
    assert "byte for byte that of the base" in aligned.model("copy").report.findings[-1]
    assert sum(stop - start for _, start, stop in other.reads) < 4000


def test_a_difference_outside_the_samples_is_found():
    changed = sd3(1)
    key = "joint_blocks.1.x_block.mlp.fc2.weight"
    changed[key] = changed[key].clone()
    changed[key][0, 0] += 1
    models = [("a", source("a", sd3(1))), ("b", source("b", changed))]
    aligned = align(source("base", sd3()), models)
    assert [m.report.duplicate_of for m in aligned.models] == [None, None]


def test_duplicates_need_the_same_dtype():
    wide = {k: v.float() for k, v in sd3(1).items()}
    models = [("a", source("a", sd3(1))), ("b", source("b", wide))]
    aligned = align(source("base", sd3()), models)
    assert [m.report.duplicate_of for m in aligned.models] == [None, None]


def test_known_hashes_spare_the_reading_of_duplicates():
    one, two = source("a", sd3(1)), source("b", sd3(1))
    for model in (one, two):
        for key in model.entries:
            model.read_raw(key)
        model.reads.clear()
    aligned = align(source("base", sd3()), [("a", one), ("b", two)])
    assert aligned.model("b").report.duplicate_of == "a"
    assert sum(stop - start for _, start, stop in two.reads) < 4000


def test_the_same_open_source_twice_is_a_duplicate():
    live = source("live", sd3(1))
    aligned = align(source("base", sd3()), [("a", live), ("b", live)])
    assert aligned.model("b").report.duplicate_of == "a"
