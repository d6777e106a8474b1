"""The report's first three sentences say what a person should do; the figures follow."""

import json

import numpy as np
import pytest
import torch

from orthomerge_core.analysis.codec import from_json
from orthomerge_core.analysis.stream import analyze
from orthomerge_core.errors import WriteError
from orthomerge_core.report.analysis_text import analysis_report, write_report
from tests.core.analysis.family import aligned, family


def report(base, models):
    return analysis_report(analyze(aligned(base, models), rank_samples=1))


def sentences(text):
    """What stands between the title and the first heading."""
    return [line for line in text.split("\n## ")[0].splitlines()[1:] if line]


def test_three_sentences_stand_on_top():
    top = sentences(report(*family(3)))
    assert [line.split()[0] for line in top] == ["**Merge**", "**Leave", "**Suspicious**:"]
    assert top[0].startswith("**Merge** m0, m1 and m2; each brings at least 9")
    assert top[1] == "**Leave out** nothing: no model repeats another."
    assert top[2] == "**Suspicious**: nothing."


def test_a_copy_is_left_out_with_the_reason():
    base, models = family(3)
    models["m2"] = {k: t + 1e-5 * torch.randn(t.shape) for k, t in models["m0"].items()}
    top = sentences(report(base, models))
    assert "**Leave out** m2 (" in top[1] or "**Leave out** m0 (" in top[1]
    assert "m2" not in top[0] or "m0" not in top[0]


def test_a_child_is_measured_from_its_parent():
    base, models = family(2, 0.1)
    models["m1"] = {k: t + 0.02 * torch.randn(t.shape) for k, t in models["m0"].items()}
    assert (
        "measuring m1 from m0, which is nearer than the base" in sentences(report(base, models))[0]
    )


def test_nothing_to_merge():
    base, _ = family(1)
    top = sentences(report(base, {"same": {k: t.clone() for k, t in base.items()}}))
    assert top[0].startswith("**Merge** nothing") and "same" in top[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda m: m["m0"]["blocks.0.attn.weight"].view(-1)[:3].fill_(float("nan")),
            "m0 holds 3 values that are not finite, in 1 tensor: where it is merged, those come "
            "out as the base's; get a sound copy",
        ),
        (lambda m: m["m1"].pop("blocks.1.attn.weight"), "m1 holds only"),
        (
            lambda m: m["m0"]["blocks.1.attn.weight"].add_(5.0),
            "of the base's norm away from it, which is more like another model",
        ),
    ],
)
def test_what_is_suspicious_is_said(change, words):
    base, models = family(2)
    change(models)
    text = report(base, models)
    assert words in sentences(text)[2]


def test_opposition_is_said_once_and_one_of_both_is_advised():
    base, models = family(3)
    models["m1"] = {k: base[k] - 0.9 * (t - base[k]) for k, t in models["m0"].items()}
    text = report(base, models)
    top = sentences(text)
    assert "m0 and m1 pull against each other (cosine -1.00)" in top[2]
    assert top[0].endswith("; but m0 and m1 cancel: keep one of them.")
    assert "## To look at" not in text


def test_what_looks_broken_is_not_advised_without_a_look():
    base, models = family(3)
    models["m1"]["blocks.0.attn.weight"] += 5.0
    top = sentences(report(base, models))
    assert top[0].startswith("**Merge** m0 and m2; ")
    assert top[0].endswith("; m1 only after a look at what is suspicious about it.")


def test_what_is_broken_is_left_out():
    base, models = family(3)
    models["m1"]["blocks.0.attn.weight"][0, 0] = float("nan")
    top = sentences(report(base, models))
    assert top[0].startswith("**Merge** m0 and m2; ") and "m1" not in top[0]
    assert top[1] == "**Leave out** m1 (damaged: 1 value is not finite)."


def test_many_models_are_counted_not_listed():
    assert sentences(report(*family(6)))[0].startswith("**Merge** all 6 models; each brings")


def test_one_model_repeats_nobody():
    top = sentences(report(*family(1)))
    assert top == ["**Merge** m0.", "**Leave out** nothing.", "**Suspicious**: nothing."]


def test_several_parents_are_told_in_the_plural():
    base, models = family(2, 0.1)
    for i in range(2):
        child = {k: t + 0.02 * torch.randn(t.shape) for k, t in models[f"m{i}"].items()}
        models[f"c{i}"] = child
    top = sentences(report(base, models))[0]
    assert "measuring c0 from m0 and c1 from m1, each nearer than the base" in top


def test_an_identical_model_is_left_out_and_not_told_twice():
    base, models = family(2)
    models["copy"] = {k: t.clone() for k, t in models["m0"].items()}
    top = sentences(report(base, models))
    assert top[1:] == ["**Leave out** copy (identical to m0).", "**Suspicious**: nothing."]


def test_a_lone_outlier_is_named():
    base, models = family(1, 1e-3, {"a.weight": (400, 400)})
    models["m0"]["a.weight"][7, 7] += 3.0
    assert "m0 changes one weight of a.weight by 3" in sentences(report(base, models))[2]


def test_several_doubts_are_counted_and_listed():
    base, models = family(2)
    for model in models.values():
        model["blocks.0.attn.weight"][0, 0] = float("inf")
    text = report(base, models)
    assert "(and 1 more, below)" in sentences(text)[2]
    assert text.split("## To look at")[1].count("\n- ") >= 2


def test_figures_say_where_each_model_lives():
    base, models = family(2)
    key = "blocks.1.attn.weight"
    models["m0"] = {k: t.clone() for k, t in base.items()} | {key: models["m0"][key]}
    text = report(base, models)
    assert "- m0: 100 % of the change is in blocks" in text and "is blocks.1 (" in text


def test_a_pipe_in_a_name_does_not_break_the_table():
    base, models = family(1)
    assert "| a\\|b |" in report(base, {"a|b": models["m0"]})


def test_many_pairs_are_cut():
    text = report(*family(9, shapes={"a.weight": (4, 4)}))
    assert "6 pairs with smaller cosines are not shown." in text
    unrelated = report(*family(9, shapes={"a.weight": (100, 400)}))
    assert "21 pairs with smaller cosines are not shown." in unrelated


def test_write_report_leaves_three_files(tmp_path):
    analysis = analyze(aligned(*family(2)))
    names = write_report(tmp_path / "new" / "report", analysis)
    assert names == ["report.md", "report.json", "heatmaps.png"]
    folder = tmp_path / "new" / "report"
    back = from_json(json.loads((folder / "report.json").read_text("utf-8")))
    np.testing.assert_array_equal(back.gram, analysis.gram)
    assert (folder / "heatmaps.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_in_the_way_is_named_without_its_path(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(WriteError, match='cannot be written into "taken"') as caught:
        write_report(tmp_path / "taken", analyze(aligned(*family(1))))
    assert str(tmp_path) not in str(caught.value)
