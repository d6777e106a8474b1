"""Marker tensors are carried, reported and never merged; so are tables of positions."""

from __future__ import annotations

import pytest
import torch

from orthomerge_core.keys.align import align
from orthomerge_core.keys.markers import MARKERS, is_buffer, is_marker, markers_of
from orthomerge_core.keys.report import compat_json, compat_text
from tests.core.keys.small import sd3, source

PREFIXES = ["", "model.diffusion_model."]


def marks(*names: str) -> dict[str, torch.Tensor]:
    return {name: torch.empty(0) for name in names}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("name", [*MARKERS, "__32x32__"])
def test_a_marker_is_carried_whatever_it_holds(name, prefix):
    for value in (torch.empty(0), torch.tensor(14.6), torch.ones(1)):
        base = source("base", {**sd3(), name: value}, prefix)
        aligned = align(base, [("m", source("m", {**sd3(1), name: value + 1}, prefix))])
        assert name in aligned.passthrough and name not in aligned.keys
        assert dict(aligned.base.markers) == {name: prefix + name}
        assert torch.equal(aligned.read_base_raw(name), value)
        (model,) = aligned.models
        assert model.report.verdict == "same architecture as the base"
        assert model.report.extra == 0 and not model.has(name)


@pytest.mark.parametrize(
    ("base", "model", "words"),
    [
        ((), ("v_pred",), "v-prediction here, the architecture's default prediction in the base"),
        (("v_pred",), (), "the architecture's default prediction here, v-prediction in the base"),
        (("v_pred",), ("v_pred", "ztsnr"), "v-prediction, zero-terminal SNR here, v-prediction"),
        ((), ("__x0__",), "x0-prediction here, the architecture's default prediction"),
        ((), ("__new_one__",), "marker __new_one__ here"),
    ],
)
def test_members_that_disagree_are_named_in_the_verdict(base, model, words):
    aligned = align(
        source("base", sd3() | marks(*base)), [("m", source("m", sd3(1) | marks(*model)))]
    )
    verdict = aligned.models[0].report.verdict
    assert verdict.startswith("same architecture as the base; but it predicts otherwise: ")
    assert words in verdict
    assert verdict.endswith("unless the recipe chooses another prediction")


def test_the_report_lists_the_markers():
    both = ("v_pred", "ztsnr")
    aligned = align(
        source("base", sd3() | marks(*both)), [("m", source("m", sd3(1) | marks(*both)))]
    )
    line = "  - Markers: v_pred, ztsnr (v-prediction, zero-terminal SNR); copied, not merged."
    assert compat_text(aligned).count(line) == 2
    assert compat_json(aligned)["models"][0]["markers"] == ["v_pred", "ztsnr"]


def test_equal_sets_of_sigmas_do_not_disagree():
    base = sd3() | {"edm_vpred.sigma_max": torch.tensor(80.0)}
    model = sd3(1) | {"edm_vpred.sigma_min": torch.tensor(0.002)}
    aligned = align(source("base", base), [("m", source("m", model))])
    assert aligned.models[0].report.verdict == "same architecture as the base"


@pytest.mark.parametrize("name", ["pos_embedder.seq", "pos_embedder.dim_spatial_range"])
def test_tables_of_positions_may_differ_in_length(name):
    base = source("base", {**sd3(), name: torch.arange(8.0)})
    aligned = align(
        base,
        [
            ("longer", source("longer", {**sd3(1), name: torch.arange(16.0)})),
            ("without", source("without", sd3(2))),
        ],
    )
    assert name in aligned.passthrough and name not in aligned.keys
    for model in aligned.models:
        report = model.report
        assert report.verdict == "same architecture as the base"
        assert (report.missing, report.extra, report.mismatched) == (0, 0, 0)


def test_only_tables_are_buffers():
    tables = ["pos_embedder.seq", "transformer.rotary_pos_emb.inv_freq", "accum_iteration"]
    weights = ["extra_pos_embedder.pos_emb_h", "pos_embed", "x_embedder.proj.weight", "accum.w"]
    assert all(map(is_buffer, tables)) and not any(map(is_buffer, weights))


def test_ordinary_names_are_no_markers():
    assert markers_of(["a.v_pred", "v_pred.weight", "_x_", "blocks.0.__x__.weight"]) == ()
    assert is_marker("__x0__") and not is_marker("____")
