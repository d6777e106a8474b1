"""What one program compiled and stored must not stop another that knows the package by its name."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

ROOT = Path(__file__).resolve().parents[3]
UNDER_ANOTHER_NAME = """
import importlib.util, sys
name, place = "/models/custom_nodes/orthomerge-studio", sys.argv[1]
found = importlib.util.spec_from_file_location(
    name, place + "/__init__.py", submodule_search_locations=[place]
)
module = importlib.util.module_from_spec(found)
sys.modules[name] = module
import importlib
compiled = importlib.import_module(name + ".orthomerge_core.analysis.compiled")
"""
BY_ITS_OWN = "import sys; sys.path.insert(0, sys.argv[1])\n" + (
    "from orthomerge_core.analysis import compiled\n"
)
USE = """
assert compiled.compiled_sweep() is not None
"""


@pytest.mark.parametrize("first", [UNDER_ANOTHER_NAME, BY_ITS_OWN])
def test_the_shell_runs_after_comfyui_and_the_other_way_round(tmp_path: Path, first: str):
    place = tmp_path / "pack"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "orthomerge_core", place / "orthomerge_core", ignore=ignore)
    (place / "__init__.py").write_text("", encoding="utf-8")
    second = BY_ITS_OWN if first is UNDER_ANOTHER_NAME else UNDER_ANOTHER_NAME
    stored = place / "orthomerge_core" / "analysis" / "__pycache__"
    for script in (first, second):
        done = subprocess.run(
            [sys.executable, "-c", script + USE, str(place)],
            env={k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert bool(list(stored.glob("*.nbi"))) == (script is BY_ITS_OWN or first is BY_ITS_OWN)


def test_a_cache_that_asks_for_a_module_that_is_gone_is_not_used():
    from orthomerge_core.linalg.compiled import compile_once

    asked = []

    def build(_numba: object, keep: bool) -> object:
        asked.append(keep)
        if keep:
            raise ModuleNotFoundError("No module named '/models/custom_nodes/pack'")
        return len

    assert compile_once(build) is len
    assert asked == [True, False]
