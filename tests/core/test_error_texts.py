"""The texts of errors that no other test of the core meets, by the package that raises them."""

import json
import math
import sys
from contextlib import closing

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from orthomerge_core import api
from orthomerge_core.analysis import rounding, stream, tensors_json
from orthomerge_core.cli import comfy_api, workflow_inputs, workflow_run
from orthomerge_core.errors import (
    AnalysisError,
    CompatibilityError,
    FileError,
    HeaderError,
    OrthoMergeError,
    PlanError,
    RecipeError,
    UnsupportedError,
    WriteError,
)
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.execute.plan.resolve import FolderResolver
from orthomerge_core.io import dtypes, gguf_writer, rawfile, sharded, spool, writer
from orthomerge_core.io.hashing import Hasher
from orthomerge_core.io.opening import open_source
from orthomerge_core.keys import depth
from orthomerge_core.keys.opening import open_set
from orthomerge_core.mecha import recipe_from_text, steps
from orthomerge_core.params import number
from orthomerge_core.progress import Progress
from orthomerge_core.recipe import codec, fields, table_parse
from orthomerge_core.recipe.layers import parse_layers
from tests.core.execute.conftest import base_tensors, live_spec, recipe_for, tuned

BODY = {"base": "b.safetensors", "models": {}, "rows": [], "method": "average"}


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A base and two fine-tunes in the current folder."""
    monkeypatch.chdir(tmp_path)
    base = base_tensors()
    save_file(base, "base.safetensors")
    for seed, name in enumerate(("a", "b"), 1):
        save_file(tuned(base, seed), f"{name}.safetensors")
    return tmp_path


FULL = r'the disk is full while writing "out\.safetensors"\. Nothing was left behind'


def refuse(*_, **__):
    raise OSError(28, "No space left on device")


def test_an_analysis_names_the_models_that_it_holds(files):
    found = api.analyze("base.safetensors", ["a.safetensors", "b.safetensors"], rank_samples=0)
    with pytest.raises(AnalysisError, match='no model "c" in this analysis: expected one of a, b'):
        found.index("c")


def test_a_set_without_models_is_not_analyzed():
    with open_set(live_spec({"base": base_tensors()}), allow_empty=True) as aligned:
        words = "the set has no model beside its base: expected at least 1 model, received 0"
        with pytest.raises(AnalysisError, match=words):
            stream.check_arguments(aligned, 0, 1, None)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"step": [0.0], "frac": [], "copies": []}, "does not fit the models"),
        ({"step": [0, 0, 0], "frac": [0, 0], "copies": [[1, 1]]}, "copies of models that are not"),
        ({"step": [0, 0, 0], "frac": [0, 0], "copies": [[0, 3]]}, "copies of models that are not"),
    ],
)
def test_rounding_of_another_set_is_refused(value, words):
    with pytest.raises(ValueError, match=words):
        rounding.read_rounding(value, 2)


def test_a_table_of_figures_has_finite_numbers():
    with pytest.raises(ValueError, match="2 finite numbers were expected"):
        tensors_json._table([[1.0, math.inf]], 1, 2)
    assert np.array_equal(tensors_json._table([[1.0, 2.0]], 1, 2), [[1.0, 2.0]])


def test_an_image_that_cannot_be_written(tmp_path, monkeypatch):
    api_ = comfy_api.ComfyApi("http://127.0.0.1:1")
    monkeypatch.setattr(api_, "image", lambda _: b"png")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(WriteError, match=r'"a\.png" cannot be written: received Not a directory'):
        api_.save({"filename": "a.png"}, tmp_path / "file")


GRAPH = {
    "1": {"class_type": "OrthoMergeExecute", "_meta": {"title": "same"}, "inputs": {}},
    "2": {"class_type": "SaveImage", "_meta": {"title": "same"}, "inputs": {"images": ["1", 0]}},
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("same.strength=1", '2 nodes are called "same". Name it by its id'),
        ("2.images.rows=1", 'input "2.images" holds no JSON text'),
    ],
)
def test_a_change_of_the_workflow_that_has_no_place(change, words):
    with pytest.raises(RecipeError, match=words):
        workflow_inputs.set_input(json.loads(json.dumps(GRAPH)), change)


def test_workflows_that_cannot_take_a_recipe():
    with pytest.raises(RecipeError, match="has no node OrthoMergeExecute that a recipe could go"):
        workflow_run.WorkflowRunner(None, {"2": GRAPH["2"]})
    two = {k: {"class_type": "OrthoMergeExecute", "inputs": {"recipe": [k, 0]}} for k in "34"}
    with pytest.raises(RecipeError, match=r"merges several recipes: expected one recipe, .*2"):
        workflow_run.WorkflowRunner(None, two)


def test_a_score_of_a_workflow_is_a_number(monkeypatch):
    class Comfy:
        answers = ("0.5",)

        def run(self, graph, progress, timeout_s):
            outputs = {name: {"text": list(self.answers)} for name in graph}
            return comfy_api.Run("1", (), (), outputs=outputs)

    recipe = codec.from_json(BODY)
    score = workflow_run.node_score("1.0", GRAPH)
    runner = workflow_run.WorkflowRunner(Comfy(), GRAPH, [score])
    assert runner.score(recipe, Progress()) == (0.5,)
    monkeypatch.setattr(Comfy, "answers", ("nan",))
    assert math.isnan(runner.score(recipe, Progress())[0])
    monkeypatch.setattr(Comfy, "answers", ("a cat",))
    words = 'output 0 of node 1 is not a number: expected a FLOAT, received "a cat"'
    with pytest.raises(RecipeError, match=words):
        runner.score(recipe, Progress())


def test_a_diffusion_model_is_no_checkpoint():
    spec = live_spec({"base": base_tensors(), "a": tuned(base_tensors(), 1)})
    with pytest.raises(
        PlanError, match="no checkpoint can be written: the base holds no text encoder"
    ):
        plan_merge(recipe_for(spec), spec, layout="checkpoint")
    with pytest.raises(PlanError, match=r'unknown layout "checkpont".*"checkpoint"'):
        plan_merge(recipe_for(spec), spec, layout="checkpont")


def test_a_full_disk_is_told_before_the_merge(files, monkeypatch):
    import shutil

    usage = shutil.disk_usage(files)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    recipe = api.optimize(api.analyze("base.safetensors", ["a.safetensors"], rank_samples=0))
    with pytest.raises(PlanError, match="free"), api.plan(recipe, "out.safetensors"):
        pass


def test_two_files_of_one_name_are_told_apart(tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        save_file(base_tensors(), tmp_path / name / "a.safetensors")
    with pytest.raises(OrthoMergeError, match=r'"a\.safetensors".*x/a\.safetensors.*y/a\.saf'):
        FolderResolver([tmp_path])("a.safetensors")


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: dtypes.dtype_named("BF61"), UnsupportedError, 'unknown dtype "BF61".*"BF16"'),
        (
            lambda: dtypes.dtype_of(torch.complex128),
            UnsupportedError,
            r"dtype torch\.complex128 cannot be stored in safetensors",
        ),
        (
            lambda: gguf_writer.build_gguf_header({"w": ("C64", (2,))}, {}, {}, {}),
            WriteError,
            'GGUF cannot hold the tensor "w": received C64',
        ),
        (
            lambda: writer.build_header({"w": ("F4", (3,))}, {}),
            WriteError,
            r'tensor "w" does not fill whole bytes: received F4 \[3\]',
        ),
        (
            lambda: open_source("a\x07.safetensors"),
            FileError,
            r"is not a usable file name: received not UTF-8, or control characters",
        ),
    ],
)
def test_what_cannot_be_stored_or_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_disk_that_fails_under_a_reader(tmp_path, monkeypatch):
    (tmp_path / "a.bin").write_bytes(b"12345678")
    with closing(rawfile.RawFile(tmp_path / "a.bin", "a.bin")) as file:
        monkeypatch.setattr(file, "_read_some", refuse)
        with pytest.raises(FileError, match=r'"a\.bin" cannot be read: received .*Check the disk'):
            file.read_at(memoryview(bytearray(4)), 0)


def test_a_disk_that_fills_under_a_writer(tmp_path, monkeypatch):
    kept = spool.Spool(tmp_path / "out.safetensors")
    monkeypatch.setattr(kept._file, "write", refuse, raising=False)
    with pytest.raises(WriteError, match=FULL):
        kept["w"] = torch.zeros(2)
    kept.close()
    layout = {"w": ("F32", (2,))}
    with monkeypatch.context() as patch:
        patch.setattr(writer, "create_temp", refuse)
        with pytest.raises(WriteError, match=FULL):
            writer.SafetensorsWriter(tmp_path / "out.safetensors", layout, {})
    with writer.SafetensorsWriter(tmp_path / "out.safetensors", layout, {}) as out:
        out.write_flat("w", torch.zeros(2), 0)
        monkeypatch.setattr(writer.os, "fsync", refuse)
        with pytest.raises(WriteError, match=FULL):
            out.finish({})
    assert list(tmp_path.iterdir()) == []


def test_an_index_of_too_many_tensors(tmp_path, monkeypatch):
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {f"w{i}": "m.safetensors" for i in range(4)}}))
    monkeypatch.setattr(sharded, "MAX_TENSORS", 3)
    with pytest.raises(HeaderError, match="too many tensors: expected at most 3, received 4"):
        open_source(index)


def test_hashes_need_xxhash(monkeypatch):
    monkeypatch.setitem(sys.modules, "xxhash", None)
    with pytest.raises(OrthoMergeError, match=r"xxhash is not installed\. Install it"):
        Hasher()


def test_a_block_map_that_could_mean_two_stacks():
    both = {"double": {0, 1}, "single": {0, 1, 2}}
    words = r"which stack of blocks is meant: received double, single. Name it: double\.0-9=0-9"
    with pytest.raises(CompatibilityError, match=words):
        depth._the_one(both, both)


def test_texts_of_sd_mecha_that_no_recipe_holds(monkeypatch):
    text = (
        'version 0.1.0\nmodel "b.safetensors" model_config=null merge_space="weight"\n'
        'model "a.safetensors" model_config=null merge_space="weight"\n'
        'merge "subtract" &1 &0\nmerge "add_difference" &0 &2 alpha=1.0\n'
        'merge "weighted_sum" &3 &2 alpha=0.5\n'
    )
    with pytest.raises(OrthoMergeError, match=r"add_difference|subtract"):
        recipe_from_text(text)
    monkeypatch.setattr(steps, "MAX_ARGUMENTS", 2)
    with pytest.raises(RecipeError, match="too many arguments: expected at most 2, received more"):
        recipe_from_text(text)


@pytest.mark.parametrize(
    ("value", "words"),
    [("1", '"1"'), (True, "true"), (math.inf, "inf"), (7.0, "7")],
)
def test_a_parameter_names_its_range(value, words):
    with pytest.raises(
        RecipeError,
        match=rf"option \"gain\": expected .* number in 0\.0\.\.4\.0, received {words}\.",
    ):
        number("gain", 1.0, 0.0, 4.0, "How much.").check(value)


def test_limits_of_recipes_and_tables(monkeypatch):
    monkeypatch.setattr(codec, "MAX_MODELS", 1)
    models = {name: {"file": f"{name}.safetensors"} for name in "ab"}
    words = "recipe has too many models: expected at most 1, received 2"
    with pytest.raises(RecipeError, match=words):
        codec.from_json(BODY | {"models": models})
    with pytest.raises(RecipeError, match="x: expected at most 3 characters, received 4 char"):
        fields.text("abcd", "x", longest=3)
    with pytest.raises(RecipeError, match=r"x: expected a whole number in 1\.\.3, received 1\.5"):
        fields.integer(1.5, "x", 1, 3)
    with pytest.raises(RecipeError, match='layers: range "OUT05-03" runs backwards'):
        parse_layers("OUT05-03=0.5")
    with pytest.raises(RecipeError, match="table: expected JSON as text, received"):
        table_parse.parse_table(["rows"])
    monkeypatch.setattr(table_parse, "MAX_TABLE_CHARS", 5)
    with pytest.raises(RecipeError, match="table is too long: expected at most 5 characters, rec"):
        table_parse.parse_table('{"version": 1}')
