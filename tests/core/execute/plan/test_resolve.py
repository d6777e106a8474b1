"""From names in a recipe to files: beside, below, and under another name."""

import pytest
from safetensors.torch import save_file

from orthomerge_core.errors import FileError, PlanError, RecipeError
from orthomerge_core.execute.output.verify import verify_file
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.plan.renamed import resolve_by_content
from orthomerge_core.execute.plan.resolve import FolderResolver, spec_from_recipe
from orthomerge_core.execute.run import run_merge
from orthomerge_core.io.hash_memo import HashMemo
from orthomerge_core.recipe.model import ModelRef, Recipe, Row
from tests.core.execute.conftest import recipe_for
from tests.core.execute.output.test_provenance import merge
from tests.fakes import MemorySource


def test_names_are_found_in_order_then_below(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    (second / "deep").mkdir(parents=True)
    first.mkdir()
    for path in (second / "a.safetensors", second / "deep" / "b.safetensors"):
        path.write_bytes(b"")
    resolve = FolderResolver([first, second])
    assert resolve("a.safetensors") == second / "a.safetensors"
    assert resolve("deep/b.safetensors") == second / "deep" / "b.safetensors"
    assert resolve("b.safetensors") == second / "deep" / "b.safetensors"
    (first / "b.safetensors").write_bytes(b"")
    assert resolve("b.safetensors") == first / "b.safetensors"
    with pytest.raises(FileError) as caught:
        resolve("aa.safetensors")
    assert 'Did you mean "a.safetensors"?' in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_a_name_in_two_subfolders_is_not_guessed(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.safetensors").write_bytes(b"")
    with pytest.raises(FileError, match="2 files of that name"):
        FolderResolver([tmp_path])("a.safetensors")


def test_every_lost_file_is_named_at_once(tmp_path):
    recipe = Recipe(
        base="b.safetensors",
        models={"x": ModelRef("x.safetensors"), "off": ModelRef("off.safetensors")},
        rows=(Row("x"), Row("off", enabled=False)),
    )
    with pytest.raises(PlanError) as caught:
        spec_from_recipe(recipe, FolderResolver([tmp_path]))
    assert len(caught.value.problems) == 2
    assert "off.safetensors" not in str(caught.value)


def test_lost_files_do_not_hide_what_else_is_wrong(tmp_path):
    recipe = Recipe(
        base="b.safetensors",
        models={"x": ModelRef("x.safetensors")},
        rows=(Row("x", layers="nonsense"), Row("nobody")),
        method="dare",
        options={"drop": 7},
    )
    with pytest.raises(PlanError) as caught:
        spec_from_recipe(recipe, FolderResolver([tmp_path]))
    said = [str(problem) for problem in caught.value.problems]
    assert len(said) == 5
    for words in (
        'row 1, layers: "nonsense"',
        'row 2: no model "nobody"',
        'option "drop"',
        '"b.safetensors" was not found',
        '"x.safetensors" was not found',
    ):
        assert any(words in text for text in said), words


def test_live_sources_need_no_file(tmp_path, family):
    live = {n: MemorySource(n, t) for n, t in family.items()}
    recipe = Recipe(base="b", models={"a": ModelRef("live")}, rows=(Row("a"),))
    spec = spec_from_recipe(recipe, FolderResolver([tmp_path]), live)
    with plan_merge(recipe, spec) as plan:
        assert run_merge(plan).report.retention["a"] == pytest.approx(1.0)


def test_an_unknown_repair_is_refused(tmp_path):
    recipe = Recipe(base="b", models={}, rows=(), repairs={"fix_prefix": False})
    (tmp_path / "b").write_bytes(b"")
    with pytest.raises(RecipeError, match='Did you mean "fix_prefixes"'):
        spec_from_recipe(recipe, FolderResolver([tmp_path]))


@pytest.mark.parametrize("renamed", [("a",), ("a", "child"), ("base", "a")])
def test_renamed_files_are_found_by_content(on_disk, tmp_path, family, renamed):
    spec, memo = on_disk(), HashMemo(None)
    merge(spec, tmp_path / "one.safetensors", recipe=recipe_for(spec, Row("child", "a")))
    recipe = verify_file(tmp_path / "one.safetensors").recipe
    for number, name in enumerate(renamed):
        (tmp_path / f"{name}.safetensors").rename(tmp_path / f"new{number}.safetensors")
    save_file({"odd": family["a"]["final.gate"]}, tmp_path / "odd.safetensors")
    resolve = resolve_by_content(recipe, FolderResolver([tmp_path]), memo)
    for number, name in enumerate(renamed):
        assert resolve(f"{name}.safetensors").name == f"new{number}.safetensors"
    with plan_merge(recipe, spec_from_recipe(recipe, resolve)) as plan:
        again = run_merge(plan).report
    assert again.content_hash == verify_file(tmp_path / "one.safetensors").computed
    assert again.notes == ()


def test_another_content_is_not_taken_for_a_lost_file(on_disk, tmp_path, family):
    spec = on_disk()
    merge(spec, tmp_path / "one.safetensors", recipe=recipe_for(spec, Row("a", alpha=0.5)))
    recipe = verify_file(tmp_path / "one.safetensors").recipe
    save_file({k: t + 1 for k, t in family["a"].items()}, tmp_path / "other.safetensors")
    (tmp_path / "a.safetensors").unlink()
    resolve = resolve_by_content(recipe, FolderResolver([tmp_path]))
    with pytest.raises(FileError, match=r'"a.safetensors" was not found'):
        resolve("a.safetensors")
