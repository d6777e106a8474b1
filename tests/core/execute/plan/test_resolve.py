"""From names in a recipe to files: beside, below, and under another name."""

import pytest
import torch
from safetensors.torch import save_file

from orthomerge_core.errors import FileError, PlanError, RecipeError
from orthomerge_core.execute.output.verify import verify_file
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.plan.renamed import resolve_by_content
from orthomerge_core.execute.plan.resolve import FolderResolver, spec_from_recipe
from orthomerge_core.execute.run import run_merge
from orthomerge_core.io.hash_memo import HashMemo
from orthomerge_core.keys.opening import spec_from_paths
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
    with pytest.raises(FileError, match="could be 2 files"):
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


def test_a_model_of_the_graph_is_not_looked_for_among_files(tmp_path):
    recipe = Recipe(
        base="b.safetensors",
        models={"x": ModelRef("MODEL x", content_hash="0" * 32, live=True)},
        rows=(Row("x"),),
    )
    (tmp_path / "b.safetensors").write_bytes(b"")
    asked = []

    class Folder(FolderResolver):
        def candidates(self):
            asked.append(1)
            return super().candidates()

    folder = Folder([tmp_path])
    resolve = resolve_by_content(recipe, folder)
    with pytest.raises(PlanError, match='"x" was a MODEL connected in ComfyUI') as caught:
        spec_from_recipe(recipe, resolve)
    assert "Connect that MODEL to OrthoAddModel again" in str(caught.value)
    assert not asked  # its content hash is that of no file
    found = spec_from_recipe(recipe, resolve, {"x": MemorySource("x", {})})
    assert found.models[0].source.name == "x"


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


HUGGING_FACE = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture
def hubs(tmp_path):
    """Base, Painter and Photo, each as a repository of Hugging Face lays it out."""
    folders = {}
    for number, name in enumerate(("Base-1.0", "Painter", "Photo")):
        path = tmp_path / name / HUGGING_FACE
        path.parent.mkdir(parents=True)
        weight = torch.full((4, 4), float(number + 1))
        save_file({"blocks.0.attn.q.weight": weight}, path)
        folders[name] = path
    return folders


def test_files_of_one_name_are_told_apart_by_their_folders(hubs, tmp_path):
    base, *models = hubs.values()
    spec = spec_from_paths(base, models)
    assert spec.names() == ("Painter", "Photo")
    assert spec.base.file == f"Base-1.0/{HUGGING_FACE}"
    assert [m.file for m in spec.models] == [f"{n}/{HUGGING_FACE}" for n in ("Painter", "Photo")]
    for folders in ([tmp_path], [tmp_path / n for n in ("Base-1.0", "Painter", "Photo")]):
        resolve = FolderResolver(folders)
        assert [resolve(m.file) for m in spec.models] == models


def test_two_candidates_without_a_hash_are_listed(hubs, tmp_path):
    resolve = FolderResolver([hubs["Painter"].parent, hubs["Photo"].parent])
    with pytest.raises(FileError) as caught:
        resolve("diffusion_pytorch_model.safetensors")
    text = str(caught.value)
    assert "could be 2 files: expected one file, or a content hash in the recipe" in text
    assert "Painter/transformer/diffusion" in text and "Photo/transformer/diffusion" in text
    assert str(tmp_path) not in text


def test_one_file_does_not_stand_for_two_models(hubs):
    resolve = FolderResolver([hubs["Photo"].parent])
    assert resolve("elsewhere/diffusion_pytorch_model.safetensors") == hubs["Photo"]
    with pytest.raises(FileError, match="was not found"):
        resolve("another/diffusion_pytorch_model.safetensors")


def test_backslashes_and_linked_folders_are_followed(hubs, tmp_path):
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "SDXL").symlink_to(hubs["Photo"].parent, target_is_directory=True)
    (tmp_path / "models" / "SDXL" / "again").symlink_to(tmp_path / "models")  # a loop
    resolve = FolderResolver([tmp_path / "models"])
    name = "diffusion_pytorch_model.safetensors"
    assert resolve(f"SDXL\\{name}").samefile(hubs["Photo"])
    assert resolve(name).samefile(hubs["Photo"])
    assert len(resolve.candidates()) == 1
