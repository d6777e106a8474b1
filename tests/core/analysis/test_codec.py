"""The JSON contract, the way back, and what is refused."""

import copy
import json
import math
import re

import numpy as np
import pytest

from orthomerge_core.analysis.codec import dumps, from_json, to_json
from orthomerge_core.analysis.derive import derive
from orthomerge_core.analysis.profile import profile
from orthomerge_core.analysis.stream import analyze
from orthomerge_core.errors import AnalysisError
from tests.core.analysis.family import aligned, family


@pytest.fixture(scope="module")
def analysis():
    base, models = family(3)
    models["m2"] = {k: t.clone() for k, t in base.items()}
    del models["m1"]["out.scale"]
    return analyze(aligned(base, models), rank_samples=2)


def test_the_contract_is_there(analysis):
    data = json.loads(json.dumps(to_json(analysis), allow_nan=False))
    assert data["names"] == ["m0", "m1", "m2"]
    for name in ("delta_norm", "effective_rank", "snr", "survival", "outlier", "quality", "grade"):
        assert len(data[name]) == 3
    for name in ("cosine", "new_information", "conflict_ratio"):
        assert np.array(data[name]).shape == (3, 3)
    assert data["effective_rank"][2] is None and data["grade"][2] == "n/a"


def test_every_part_has_its_own_figures(analysis):
    data = to_json(analysis)
    for field, labels in (("blocks", analysis.blocks), ("layer_types", analysis.layer_types)):
        assert list(data[field]) == list(dict.fromkeys(labels))
        for name, figures in data[field].items():
            part = derive(analysis, np.array([label == name for label in labels]))
            assert set(figures) == {
                "delta_norm", "energy_frac", "relative_norm", "survival", "outlier"
            }  # fmt: skip
            for figure in ("delta_norm", "relative_norm", "survival", "outlier"):
                np.testing.assert_allclose(figures[figure], getattr(part, figure), rtol=1e-8)


def test_round_trip_loses_nothing(analysis):
    text = json.dumps(to_json(analysis))
    back = from_json(json.loads(text))
    for name in ("gram", "active", "conflict", "max_abs", "nonfinite", "present"):
        np.testing.assert_array_equal(getattr(back, name), getattr(analysis, name))
        assert getattr(back, name).dtype == getattr(analysis, name).dtype
    for a, b in zip(back.spectra, analysis.spectra, strict=True):
        assert a.key == b.key
        np.testing.assert_array_equal(a.energies, b.energies)
    assert json.dumps(to_json(back)) == text


def version_1(analysis):
    """The JSON that the first version wrote: one object per tensor, full spectra."""

    def upper(matrix):
        return matrix[np.triu_indices(len(matrix))].tolist()

    data = to_json(analysis) | {"version": 1}
    data["spectra"] = [{"key": s.key, "energies": s.energies.tolist()} for s in analysis.spectra]
    data["tensors"] = [
        {
            "key": key,
            "shape": list(analysis.shapes[k]),
            "block": analysis.blocks[k],
            "layer_type": analysis.layer_types[k],
            "gram": upper(analysis.gram[k]),
            "active": upper(analysis.active[k]),
            "conflict": upper(analysis.conflict[k]),
            "max_abs": analysis.max_abs[k].tolist(),
            "nonfinite": analysis.nonfinite[k].tolist(),
            "present": [int(p) for p in analysis.present[k]],
        }
        for k, key in enumerate(analysis.keys)
    ]
    return data


def test_files_of_the_first_version_are_read(analysis):
    back = from_json(json.loads(json.dumps(version_1(analysis))))
    assert to_json(back) == to_json(analysis)
    assert back.keys == analysis.keys and back.shapes == analysis.shapes


def test_raw_sums_come_in_columns(analysis):
    tensors = json.loads(dumps(analysis))["tensors"]
    k = tensors["keys"].index("blocks.1.attn.weight")
    assert tensors["shapes"][k] == [24, 56]
    assert tensors["blocks"][tensors["block"][k]] == "blocks.1"
    assert tensors["layer_types"][tensors["layer_type"][k]] == analysis.layer_types[k]
    assert tensors["gram"][k] == analysis.gram[k][np.triu_indices(4)].tolist()
    assert tensors["conflict"][k] == analysis.conflict[k][np.triu_indices(3, 1)].tolist()
    assert tensors["nonfinite"][k] == 0  # one number where all are equal
    assert tensors["present"][tensors["keys"].index("out.scale")] == [1, 0, 1]


def test_numbers_are_short(analysis):
    """Thirteen digits of a sum, nine of anything derived; no spaces."""
    text = dumps(analysis)
    numbers = re.findall(r"-?\d+\.\d+(?:e-?\d+)?", text)
    assert max(len(n.split("e")[0].strip("-0.").replace(".", "")) for n in numbers) <= 13
    assert " " not in text.replace("Every weight is byte for byte", "").split('"reports"')[0]


def test_a_mask_is_an_analysis_of_those_keys(analysis):
    mask = np.array([b == "blocks.0" for b in analysis.blocks])
    assert mask.any()
    part = derive(analysis, mask)
    expected = np.sqrt(analysis.gram[mask].sum(0)[1, 1])
    assert part.delta_norm[0] == pytest.approx(expected)
    nothing = derive(analysis, np.zeros_like(mask))
    assert not nothing.delta_norm.any() and math.isnan(nothing.quality[0])


def test_profile_shares_add_up(analysis):
    found = profile(analysis, analysis.blocks)
    np.testing.assert_allclose(found.share.sum(axis=0), [1, 1, 0])
    np.testing.assert_allclose((found.norm**2).sum(0), derive(analysis).delta_norm ** 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("format"), "this is not an analysis: expected a JSON object"),
        (lambda d: d.update(version=9), "of another version: expected version 1 or 2, received 9"),
        (lambda d: d.pop("names"), '"names" is missing'),
        (lambda d: d["tensors"]["gram"].__setitem__(0, [1.0]), "finite numbers were expected"),
        (lambda d: d["tensors"]["max_abs"].__setitem__(0, "x"), "damaged"),
        (lambda d: d.update(files=[]), "do not match"),
        (lambda d: d["tensors"]["keys"].__setitem__(1, d["tensors"]["keys"][0]), "listed twice"),
        (lambda d: d["tensors"]["active"].pop(), "5 tensors were expected, 4 are there"),
        (lambda d: d["tensors"]["block"].__setitem__(0, -1), "has no name"),
        (lambda d: d["tensors"]["block"].__setitem__(0, 99), "damaged"),
        (lambda d: d.update(spectra=[{"key": "a", "energies": [[1.0]]}]), "wrong size"),
        (lambda d: d.update(content_hashes=None), "damaged"),
    ],
)
def test_damaged_analyses_are_refused_with_the_way_out(analysis, change, words):
    data = copy.deepcopy(to_json(analysis))
    change(data)
    with pytest.raises(AnalysisError, match=words) as caught:
        from_json(data)
    assert "run analyze again" in str(caught.value).lower()


def test_something_else_entirely_is_refused():
    with pytest.raises(AnalysisError, match="received list"):
        from_json([1, 2])
