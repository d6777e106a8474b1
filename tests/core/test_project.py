"""Promises about the project itself: what it imports, declares and ships."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


def _registered() -> list[str]:
    """The names in `nodes.NODES`, without importing ComfyUI."""
    tree = ast.parse((ROOT / "nodes" / "__init__.py").read_text(encoding="utf-8"))
    listed = next(n for n in tree.body if isinstance(n, ast.AnnAssign) and n.target.id == "NODES")
    return [name.id for name in listed.value.elts]


NODES = _registered()
OPTIONAL = (
    "sd_mecha",
    "gguf",
    "matplotlib",
    "xxhash",
    "click",
    "jaxtyping",
    "comfy",
    "comfy_kitchen",
)
BLOCKED_IMPORT = """
import importlib, pkgutil, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {optional!r}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
import orthomerge_core
for module in pkgutil.walk_packages(orthomerge_core.__path__, "orthomerge_core."):
    if module.name.split(".")[1] not in ("cli", "__main__"):  # click's decorators need click
        importlib.import_module(module.name)
"""


def test_every_module_but_the_shell_imports_with_torch_safetensors_and_numpy_alone() -> None:
    code = BLOCKED_IMPORT.format(optional=set(OPTIONAL))
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_the_pack_imports_without_comfyui_and_stays_small() -> None:
    entry = ROOT / "__init__.py"
    assert len(entry.read_text(encoding="utf-8").splitlines()) <= 15
    code = (
        "import importlib.util, sys;"
        f"s = importlib.util.spec_from_file_location('pack', r'{entry}');"
        "m = importlib.util.module_from_spec(s); s.loader.exec_module(m);"
        "assert m.WEB_DIRECTORY == './web'; assert 'torch' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_torch_is_never_declared() -> None:
    declared = _project_block() + (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert not re.search(r"^\s*\"?torch", declared, re.MULTILINE)


def test_requirements_mirror_pyproject() -> None:
    lines = set((ROOT / "requirements.txt").read_text(encoding="utf-8").split())
    block = _project_block().split("dependencies = [", 1)[1].split("]", 1)[0]
    declared = set(re.findall(r'"([^"]+)"', block))
    assert declared <= lines
    assert lines - declared == {"matplotlib>=3.8"}


def test_every_public_tensor_of_the_maths_has_a_shape() -> None:
    """The import hook in tests/conftest.py checks what is annotated; this, that all of it is."""
    shaped = re.compile(r"(Float|Float32|Float64|Int|Shaped)\[(torch\.)?Tensor, '[^']*'\]")
    bare = [
        f"{path.name}:{function.lineno} {function.name}({name})"
        for folder in ("linalg", "methods")
        for path in sorted((ROOT / "orthomerge_core" / folder).glob("*.py"))
        for function in _public_functions(ast.parse(path.read_text(encoding="utf-8")))
        for name, annotation in _annotations(function)
        if re.search(r"\bTensor\b", shaped.sub("", ast.unparse(annotation)))
    ]
    assert bare == []


def test_a_wrong_shape_fails_in_the_tests() -> None:
    from orthomerge_core.linalg.projection import dual

    with pytest.raises(Exception, match="Type-check error") as caught:
        dual(torch.zeros(2, 3, dtype=torch.float64))
    assert "rows rows" in str(caught.value)


def _public_functions(tree: ast.AST) -> list[ast.FunctionDef]:
    found: list[ast.FunctionDef] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            found += _public_functions(node)
        special = isinstance(node, ast.FunctionDef) and node.name in ("__init__", "__call__")
        if isinstance(node, ast.FunctionDef) and (special or not node.name.startswith("_")):
            found.append(node)
    return found


def _annotations(function: ast.FunctionDef) -> list[tuple[str, ast.expr]]:
    arguments = function.args.args + function.args.kwonlyargs
    pairs = [(a.arg, a.annotation) for a in arguments] + [("return", function.returns)]
    return [(name, annotation) for name, annotation in pairs if annotation is not None]


LONG_FILES = {
    # numba keeps compiled functions under the time of the file they stand in, so that a function
    # that calls one of another file may be stale
    "orthomerge_core/linalg/loops.py": 400,
}


def test_files_and_functions_are_short() -> None:
    """At most 300 lines and 60; a schema is data, one line per property."""
    found = []
    for path in sorted([*ROOT.glob("orthomerge_core/**/*.py"), *ROOT.glob("nodes/**/*.py")]):
        text, name = path.read_text(encoding="utf-8"), path.relative_to(ROOT).as_posix()
        lines = len(text.splitlines())
        if lines > LONG_FILES.get(name, 300):
            found.append(f"{name}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or 0) - node.lineno + 1
                if length > 60 and node.name != "define_schema":
                    found.append(f"{name}: {node.name} has {length} lines")
    assert found == []


def _folder(path: Path) -> str:
    return path.parent.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", sorted(ROOT.glob("orthomerge_core/**/__init__.py")), ids=_folder)
def test_every_package_says_what_lives_there(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert len(said) > 40 and "OrthoMerge Studio: " not in said


def test_one_version() -> None:
    import orthomerge_core

    assert f'version = "{orthomerge_core.__version__}"' in _project_block()
    assert f"## {orthomerge_core.__version__}" in (ROOT / "CHANGELOG.md").read_text(
        encoding="utf-8"
    )


def test_node_names_are_written_down_once() -> None:
    """The browser and the tests ask for the list; `nodes/__init__.py` has it."""
    assert len(NODES) >= 10
    script = (ROOT / "web" / "js" / "orthomerge.js").read_text(encoding="utf-8")
    assert [name for name in NODES if f'"{name}"' in script] == []


@pytest.mark.parametrize("node", NODES)
def test_every_node_has_help_and_a_name_in_three_languages(node: str) -> None:
    page = ROOT / "web" / "docs" / f"{node}.md"
    assert len(page.read_text(encoding="utf-8")) > 200
    for language in ("en", "de", "zh"):
        texts = json.loads(
            (ROOT / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8")
        )
        assert texts[node]["description"]
        assert language == "en" or texts[node]["display_name"]  # English: the node's own


def test_example_workflows_come_with_an_api_prompt_and_a_picture() -> None:
    workflows = sorted((ROOT / "example_workflows").glob("*.json"))
    assert workflows and len(list((ROOT / "example_workflows" / "api").glob("*.json"))) == len(
        workflows
    )
    for path in workflows:
        assert path.with_suffix(".jpg").exists(), path.name


def _project_block() -> str:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return text.split("[project]", 1)[1].split("[project.optional-dependencies]", 1)[0]
