"""What a method says it holds is what it holds, measured in a process of its own."""

import json
import os
import subprocess
import sys

import pytest

from orthomerge_core.methods.contract import LinearMethod
from orthomerge_core.methods.registry import all_methods

SLACK = 2 << 20
NAMES = [name for name, method in all_methods().items() if not isinstance(method, LinearMethod)]


@pytest.fixture(scope="module")
def found():
    if not sys.platform.startswith("linux"):
        pytest.skip("the peak of resident memory is reset through /proc")
    # freed memory goes back at once, so that one method does not serve the next
    own = {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.core.methods.work_bytes"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | own, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", NAMES)
def test_a_merge_holds_no_more_than_it_says(found, name):
    for case, (held, said) in found[name].items():
        assert held <= said + SLACK, case


@pytest.mark.parametrize("name", NAMES)
def test_what_it_says_is_no_multiple_of_what_it_holds_on_matrices(found, name):
    held, said = found[name]["square"]
    assert said <= 1.3 * held + SLACK
