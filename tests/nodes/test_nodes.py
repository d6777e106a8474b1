"""Nodes called as the host calls them: what goes in, what comes out, what is refused."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file


@pytest.fixture
def family(folders: Path) -> Path:
    """A base, two fine-tunes, a stranger and a broken file, in one folder of their own."""
    place = folders / "diffusion_models" / "fam"
    place.mkdir()
    generator = torch.Generator().manual_seed(0)
    base = {f"blocks.{i}.weight": torch.randn(8, 8, generator=generator) for i in range(3)}
    for name, strength in (("base", 0.0), ("one", 0.1), ("two", 0.2)):
        tensors = {
            k: v + strength * torch.randn(8, 8, generator=generator) for k, v in base.items()
        }
        save_file(tensors, place / f"{name}.safetensors")
    save_file({"other.layer": torch.ones(3, 3)}, place / "stranger.safetensors")
    (place / "broken.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    return place


def run(node: Any, **inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Outputs and the browser's payload of one execution."""
    output = node.PREPARE_CLASS_CLONE({}).EXECUTE_NORMALIZED(**inputs)
    return output.result, (output.ui or {}).get("orthomerge", [{}])[0]


def model_set(pack: ModuleType, models: str = "fam/one.safetensors\nfam/two.safetensors") -> Any:
    (spec,), _ = run(pack.OrthoModelSet, base="fam/base.safetensors", models=models)
    return spec


def mix(pack: ModuleType, spec: Any, **inputs: Any) -> Any:
    (wire, _), _ = run(pack.OrthoMixer, models=spec, **inputs)
    return wire


def table(*rows: dict[str, Any], **fields: Any) -> str:
    return json.dumps({"version": 1, "rows": list(rows), **fields})


def test_set_names_models_by_stem_and_files_as_the_host_lists_them(pack: ModuleType, family: Path):
    spec = model_set(pack)
    assert spec.names() == ("one", "two")
    assert [m.file for m in spec.models] == ["fam/one.safetensors", "fam/two.safetensors"]
    assert spec.base.file == "fam/base.safetensors"
    assert str(family) not in repr(spec)


def test_empty_list_takes_what_fits_and_says_why_not(pack: ModuleType, family: Path):
    (spec,), payload = run(pack.OrthoModelSet, base="fam/base.safetensors", models="")
    assert spec.names() == ("one", "two")
    reasons = {item["file"]: item["reason"] for item in payload["skipped"]}
    assert set(reasons) == {"fam/stranger.safetensors", "fam/broken.safetensors"}
    assert all(reasons.values())
    assert str(family) not in json.dumps(payload)


@pytest.mark.parametrize("odd", ["a\tb", "a\nb", "a\u202eb"])
def test_a_name_that_no_list_can_hold_is_left_out_with_a_note(
    pack: ModuleType, family: Path, odd: str
):
    (family / f"{odd}.safetensors").write_bytes((family / "one.safetensors").read_bytes())
    (spec,), payload = run(pack.OrthoModelSet, base="fam/base.safetensors", models="")
    assert spec.names() == ("one", "two")
    notes = [s for s in payload["skipped"] if "cannot be shown" in s["reason"]]
    assert len(notes) == 1 and odd not in notes[0]["file"]


def test_nothing_beside_the_base(pack: ModuleType, errors: ModuleType, folders: Path):
    with pytest.raises(errors.FileError, match="no compatible model beside"):
        run(pack.OrthoModelSet, base="checkpoints:base.safetensors", models="")


def test_twice_the_same_line(pack: ModuleType, errors: ModuleType, family: Path):
    with pytest.raises(errors.RecipeError, match="named twice"):
        model_set(pack, "fam/one.safetensors\nfam/one.safetensors")


def test_extending_a_set_keeps_its_base_and_renames_clashes(pack: ModuleType, family: Path):
    first = model_set(pack, "fam/one.safetensors")
    more = "fam/one.safetensors\nfam/two.safetensors"
    (spec,), _ = run(pack.OrthoModelSet, base="base.safetensors", models=more, extend=first)
    assert spec.names() == ("one", "one-2", "two")
    assert spec.base == first.base


def test_fingerprint_of_an_empty_list_covers_the_folder(pack: ModuleType, family: Path):
    def fingerprint() -> str:
        return pack.OrthoModelSet.fingerprint_inputs(base="fam/base.safetensors", models="")

    before = fingerprint()
    os.utime(family / "two.safetensors", ns=(1, 1))
    assert fingerprint() != before


def test_compatibility_fix_passes_only_what_fits(pack: ModuleType, family: Path):
    spec = model_set(pack, "fam/one.safetensors\nfam/stranger.safetensors")
    (fixed, text), payload = run(pack.CompatibilityFix, models=spec)
    assert fixed.names() == ("one",)
    assert [report["ok"] for report in payload["models"]] == [True, True, False]
    assert "stranger" in text and payload["text"] == text


def test_the_table_shows_even_where_nothing_fits(
    pack: ModuleType, errors: ModuleType, family: Path
):
    spec = model_set(pack, "fam/stranger.safetensors")
    (fixed, text), payload = run(pack.CompatibilityFix, models=spec)
    assert [report["ok"] for report in payload["models"]] == [True, False]
    assert "does not fit" in text
    with pytest.raises(errors.CompatibilityError, match='no model fits the base: "stranger" is'):
        run(pack.DeltaGramAnalyzer, models=fixed)


def test_copies_are_written_of_what_was_repaired(pack: ModuleType, family: Path, folders: Path):
    tensors = load_file(family / "one.safetensors")
    prefixed = {f"model.diffusion_model.{k}": v for k, v in tensors.items()}
    save_file(prefixed, family / "full.safetensors")
    spec = model_set(pack, "fam/full.safetensors\nfam/two.safetensors")
    (_, text), _ = run(pack.CompatibilityFix, models=spec, write_copies=True)
    place = folders / "output" / "diffusion_models" / "fixed"
    assert [path.name for path in place.iterdir()] == ["full_fixed.safetensors"]
    copied = load_file(place / "full_fixed.safetensors")
    assert all(torch.equal(copied[k], v) for k, v in tensors.items())
    assert text.endswith("Wrote diffusion_models/fixed/full_fixed.safetensors")


def test_repairs_travel_into_the_recipe(pack: ModuleType, family: Path):
    (fixed, _), _ = run(pack.CompatibilityFix, models=model_set(pack), fix_prefixes=False)
    assert mix(pack, fixed).recipe.repairs == {"fix_prefixes": False}


def test_mixer_without_a_proposal_adds_every_model(pack: ModuleType, family: Path):
    (wire, formula), payload = run(
        pack.OrthoMixer, models=model_set(pack), method="task_arithmetic"
    )
    assert [(r.model, r.delta_from, r.alpha) for r in wire.recipe.rows] == [
        ("one", "base", 1.0),
        ("two", "base", 1.0),
    ]
    assert formula.startswith("W = base + (one − base) + (two − base)\n")
    assert payload["kind"] == "mix" and payload["names"] == ["one", "two"]


def test_formula_says_alpha_repeat_layers_and_texture(pack: ModuleType, family: Path):
    rows = table(
        {"model": "one", "alpha": 0.5, "repeat": 2, "layers": "blocks.0=1, default=0"},
        {"model": "two", "enabled": False},
    )
    inputs = {"texture_model": "two", "texture_alpha": 0.25, "method": "average"}
    (_, formula), _ = run(pack.OrthoMixer, models=model_set(pack), table=rows, **inputs)
    line = formula.splitlines()[0]
    assert line == "W = base + [2 × 0.5 · (one − base) ∘ layers] ∕ 2 + 0.25 · Δtwo"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"model": "ona"}], r'row 1: no model "ona" in the set\. Did you mean "one"\?'),
        ([{"model": "one", "delta_from": "tow"}], r'delta_from "tow" is not in the set'),
        ([{"model": "one", "delta_from": "one"}], r"goes in a circle, one → one"),
        (
            [{"model": "one", "delta_from": "two"}, {"model": "two", "delta_from": "one"}],
            r"goes in a circle, one → two → one",
        ),
    ],
)
def test_rows_that_cannot_be(
    pack: ModuleType,
    errors: ModuleType,
    family: Path,
    rows: list[dict[str, Any]],
    words: str,
):
    with pytest.raises(errors.RecipeError, match=words):
        mix(pack, model_set(pack), table=table(*rows))


def test_all_problems_of_the_rows_at_once(pack: ModuleType, errors: ModuleType, family: Path):
    rows = table({"model": "ona"}, {"model": "tow"})
    with pytest.raises(errors.PlanError, match="and 1 more problem"):
        mix(pack, model_set(pack), table=rows)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "expected a JSON object, received list"),
        (table({"model": "a", "alpha": 9}), 'row 1, column "alpha"'),
        (table({"model": "a", "layers": "x=y=z"}), 'row 1, column "layers"'),
        (table({"model": "a", "delta_from": "a"}), "goes in a circle"),
        (table(options={"slurp": {}}), 'unknown method "slurp"'),
        (table(options={"orthomerge": {"damping": "much"}}), 'option "damping"'),
    ],
)
def test_tables_that_are_refused_before_they_run(
    pack: ModuleType, folders: Path, text: str, words: str
):
    answer = pack.OrthoMixer.validate_inputs(table=text)
    assert isinstance(answer, str) and words in answer


def test_unknown_method_and_texture(pack: ModuleType, errors: ModuleType, family: Path):
    with pytest.raises(errors.RecipeError, match='Did you mean "average"'):
        mix(pack, model_set(pack), method="averages")
    with pytest.raises(errors.RecipeError, match='texture_model "three" is not in the set'):
        mix(pack, model_set(pack), texture_model="three", texture_alpha=0.1)


def test_options_of_the_chosen_method_reach_the_recipe(pack: ModuleType, family: Path):
    options = {"orthomerge": {"damping": 0.01}, "slerp": {}}
    recipe = mix(pack, model_set(pack), method="orthomerge", table=table(options=options)).recipe
    assert recipe.options["damping"] == 0.01


def test_recipe_goes_out_as_json_and_comes_back(pack: ModuleType, family: Path):
    wire = mix(pack, model_set(pack), table=table({"model": "one", "alpha": 0.5}))
    (same, text), _ = run(pack.OrthoRecipe, recipe=wire)
    (back, _), payload = run(pack.OrthoRecipe, json=text)
    assert same is wire
    assert back.recipe == wire.recipe
    assert back.spec.models[0].path == family / "one.safetensors"
    assert str(family) not in text + json.dumps(payload)


def test_recipe_goes_out_for_sd_mecha_and_comes_back(pack: ModuleType, family: Path):
    wire = mix(pack, model_set(pack), method="average", table=table({"model": "two"}))
    (_, text), _ = run(pack.OrthoRecipe, recipe=wire, export="mecha")
    (back, _), _ = run(pack.OrthoRecipe, json=text)
    assert text.startswith("version ")
    assert pack.OrthoRecipe.validate_inputs(json=text) is True
    assert [(r.model, r.delta_from, r.alpha) for r in back.recipe.active_rows] == [
        ("two", "base", 1.0)
    ]
    (_, script), _ = run(pack.OrthoRecipe, recipe=wire, export="script")
    compile(script, "script.py", "exec")


def test_recipe_from_nothing_and_from_a_plain_file(
    pack: ModuleType, errors: ModuleType, family: Path
):
    with pytest.raises(errors.RecipeError, match="no recipe is given"):
        run(pack.OrthoRecipe)
    with pytest.raises(errors.RecipeError, match="holds no recipe"):
        run(pack.OrthoRecipe, file="fam/one.safetensors")
    assert "not JSON" in pack.OrthoRecipe.validate_inputs(json="{")


def test_wires_say_themselves_in_a_few_words(pack: ModuleType, family: Path):
    wire = mix(pack, model_set(pack))
    assert repr(wire) == "Recipe(method='orthogonal_projection', active_rows=2)"
    assert len(repr(wire.spec)) < 120


def test_a_name_for_a_model_must_be_free(pack: ModuleType, errors: ModuleType, family: Path):
    assert "not base" in pack.OrthoAddModel.validate_inputs(name=" base ")
    with pytest.raises(errors.RecipeError, match='name "one"'):
        run(pack.OrthoAddModel, models=model_set(pack), model=object(), name="one")


def test_unknown_name_to_pick(pack: ModuleType, errors: ModuleType, family: Path):
    with pytest.raises(errors.RecipeError, match='Did you mean "one"'):
        run(pack.OrthoPickModel, models=model_set(pack), name="ono")


def test_pictures_become_images(pack: ModuleType):
    widgets = sys.modules[f"{pack.__name__}.widgets"]
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    image = widgets.picture(lambda: pixels)
    assert image.shape == (1, 2, 4, 3)
    torch.testing.assert_close(image[0] * 255, torch.from_numpy(pixels).float())


def test_a_grey_square_without_matplotlib(pack: ModuleType, caplog: pytest.LogCaptureFixture):
    def draw() -> np.ndarray:
        raise ImportError("No module named 'matplotlib'")

    image = sys.modules[f"{pack.__name__}.widgets"].picture(draw)
    assert image.std() == 0
    assert "pip install matplotlib" in caplog.text


def test_float_widgets_show_their_default(pack: ModuleType, folders: Path):
    fields = {f.id: f for f in pack.DeltaBaseOptimizer.define_schema().inputs}
    assert fields["min_gain"].step == pytest.approx(0.001)
    assert fields["redundancy"].step == pytest.approx(0.01)
