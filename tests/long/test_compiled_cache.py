"""What numba compiled for one program serves every other, by whatever name it knows the package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

AS_COMFYUI = """
import importlib, importlib.util, sys
name, place = "/models/custom_nodes/orthomerge-studio", sys.argv[1]
found = importlib.util.spec_from_file_location(
    name, place + "/__init__.py", submodule_search_locations=[place]
)
sys.modules[name] = importlib.util.module_from_spec(found)
compiled = importlib.import_module(name + ".orthomerge_core.analysis.compiled")
"""
BY_ITS_OWN_NAME = """
import sys
sys.path.insert(0, sys.argv[1])
from orthomerge_core.analysis import compiled
"""
USE = """
assert compiled.compiled_kernel("BF16") is not None
stats = compiled.loops().sum_halves.stats
print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


@pytest.mark.parametrize(
    ("first", "second"), [(AS_COMFYUI, BY_ITS_OWN_NAME), (BY_ITS_OWN_NAME, AS_COMFYUI)]
)
def test_the_second_program_compiles_nothing(tmp_path, first, second):
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "orthomerge_core", tmp_path / "orthomerge_core", ignore=ignore)
    (tmp_path / "__init__.py").write_text("", encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    said = [
        subprocess.run(
            [sys.executable, "-c", script + USE, str(tmp_path)],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for script in (first, second)
    ]
    assert said == [["0", "1"], ["1", "0"]]
