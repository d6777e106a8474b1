"""sd-mecha is loaded by whichever thread needs it first, while others need it too."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sd_mecha")


TWO_AT_ONCE = """
import sys, threading

half_loaded, asked = threading.Event(), threading.Event()

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "sd_mecha.extensions.builtin.merge_methods":
            half_loaded.set()
            asked.wait(1.0)  # the other one gets no further than to wait

sys.meta_path.insert(0, Slow())
from orthomerge_core.methods._mecha import tensor_function

first = threading.Thread(target=tensor_function, args=("ties_sum",))
first.start()
assert half_loaded.wait(60)
print(tensor_function("ties_sum").__name__)
asked.set()
first.join()
"""


def test_two_threads_may_need_it_first():
    root = Path(__file__).parents[2]
    call = [sys.executable, "-c", TWO_AT_ONCE]
    done = subprocess.run(call, cwd=root, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("ties_sum\n", "")
