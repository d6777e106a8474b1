"""One merge under other names: served from what is there, with the new recipe's names."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open

from orthomerge_core.execute.output.provenance import with_hashes
from orthomerge_core.execute.output.resave import merge_identity, store_again
from orthomerge_core.execute.output.verify import verify_file
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.run import run_merge
from orthomerge_core.recipe.model import Row, TextureBoost
from tests.core.execute.conftest import recipe_for

ROWS = (Row("a"), Row("b", alpha=0.5), Row("child", "a"), Row("a", alpha=0.25))
NAMES = {"a": "zz", "b": "a much longer name", "child": "a"}


def under_other_names(spec, recipe):
    """The same merge; one name changes its length, one is now another model's."""
    specs = tuple(replace(m, name=NAMES[m.name]) for m in spec.models)
    models = {NAMES[name]: ref for name, ref in recipe.models.items()}
    rows = [
        replace(r, model=NAMES[r.model], delta_from=NAMES.get(r.delta_from, r.delta_from))
        for r in recipe.rows
    ]
    boost = replace(recipe.texture_boost, model=NAMES[recipe.texture_boost.model])
    changed = replace(recipe, models=models, rows=tuple(rows), texture_boost=boost)
    return replace(spec, models=specs), changed


@pytest.mark.parametrize("hashes_known", [False, True])
def test_it_is_stored_under_the_names_of_the_new_recipe(on_disk, family, tmp_path, hashes_known):
    del family["b"]["final.weight"]
    family["child"]["final.gate"] = torch.tensor(torch.nan, dtype=torch.bfloat16)
    spec = on_disk()
    recipe = recipe_for(spec, *ROWS, texture_boost=TextureBoost("b", 0.1))
    with plan_merge(recipe, spec) as plan:
        first, identity = run_merge(plan), merge_identity(plan)
    if hashes_known:
        recipe = with_hashes(recipe, first.report.source_hashes)
    renamed_spec, renamed = under_other_names(spec, recipe)
    with plan_merge(renamed, renamed_spec) as plan:
        expected = run_merge(plan).report
    target = tmp_path / "out.safetensors"
    with plan_merge(renamed, renamed_spec, target=target) as plan:
        assert merge_identity(plan) == identity
        found = store_again(plan, first.report, first.state_dict.get).report
    assert found.content_hash == expected.content_hash == verify_file(target).computed
    for field in ("retention", "retention_by_block", "leave_one_out", "source_hashes", "unused"):
        assert getattr(found, field) == getattr(expected, field), field
        assert list(getattr(found, field)) == list(getattr(expected, field)), field
    assert found.notes[:-1] == expected.notes and "made before" in found.notes[-1]
    assert found.messages[:-1] == expected.messages
    assert found.messages[-1]["code"] == "merge.stored_again"
    with safe_open(target, "pt") as file:
        written = json.loads(file.metadata()["orthomerge.recipe"])
    assert set(written["models"]) == set(NAMES.values())
    hashes = {name: ref["content_hash"] for name, ref in written["models"].items()}
    assert hashes == {n: expected.source_hashes[n] for n in NAMES.values()}


def test_a_note_that_it_was_stored_before_is_said_once(on_disk, tmp_path):
    spec = on_disk()
    recipe = recipe_for(spec, Row("a"))
    with plan_merge(recipe, spec) as plan:
        first = run_merge(plan)
    report = first.report
    for name in ("one", "two"):
        with plan_merge(recipe, spec, target=tmp_path / f"{name}.safetensors") as plan:
            report = store_again(plan, report, first.state_dict.get).report
    assert sum("made before" in note for note in report.notes) == 1


def test_a_renamed_file_is_still_the_same_merge(on_disk):
    spec = on_disk()
    recipe = recipe_for(spec, Row("a"), Row("b"))
    with plan_merge(recipe, spec) as plan:
        identity = merge_identity(plan)
    models = {n: replace(r, file=f"sub/{r.file}") for n, r in recipe.models.items()}
    with plan_merge(replace(recipe, models=models, base="sub/base.safetensors"), spec) as plan:
        assert merge_identity(plan) == identity
    with plan_merge(replace(recipe, rows=recipe.rows[::-1]), spec) as plan:
        assert merge_identity(plan) != identity
