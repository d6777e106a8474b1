"""Two processes that keep and find things in one folder get whole ones, and stay in its budget."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TURNS, SIZE, KEPT = 120, 9_000, 5

SHARE = """
import sys, torch
from pathlib import Path
{imports}
cache = {cache}
print("ready", flush=True)
sys.stdin.readline()
hits = misses = 0
for turn in range({turns}):
    key = turn * 7 % 9
    found = {get}
    if found is not None:
        assert {intact}
        hits += 1
    else:
        {put}
        misses += 1
print(hits, misses)
"""
DECOMPOSITIONS = {
    "imports": "from orthomerge_core.execute.decomposition_cache import DecompositionCache",
    "cache": f"DecompositionCache(Path(sys.argv[1]), max_bytes={KEPT * 40_000})",
    "get": "cache.get(str(key))",
    "intact": f"bool((found['x'] == key).all()) and len(found['x']) == {SIZE}",
    "put": f"cache.put(str(key), {{'x': torch.full(({SIZE},), float(key))}})",
}
ENTRIES = {
    "imports": "from orthomerge_core.io.cache_folder import CacheFolder",
    "cache": f"CacheFolder(Path(sys.argv[1]), '.entry', {KEPT * 40_000})",
    "get": "cache.payload(cache.path(str(key)))",
    "intact": "found == bytes([key]) * 36_000",
    "put": "cache.put(str(key), {'key': key}, bytes([key]) * 36_000)",
}


@pytest.mark.parametrize("what", [DECOMPOSITIONS, ENTRIES], ids=["decompositions", "entries"])
def test_two_processes_share_a_folder_and_its_budget(tmp_path, what):
    code = SHARE.format(turns=TURNS, **what)
    command = [sys.executable, "-c", code, str(tmp_path)]
    both = [
        subprocess.Popen(
            command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in both:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        assert sum(map(int, said.split())) == TURNS
    left = list(tmp_path.iterdir())
    assert left and not any(path.name.endswith(".tmp") for path in left)
    assert sum(path.stat().st_size for path in left) <= KEPT * 40_000
