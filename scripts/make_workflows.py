"""Writes `example_workflows/*.json` and their API twins, for the nodes as a real ComfyUI has them.

    python scripts/make_workflows.py           all workflows
    python scripts/make_workflows.py slerp     only these

Each makes a picture from the demo's family; exchange the names in the first node for your models.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.support import env

if __name__ == "__main__":
    env.in_venv(dev=True)

from scripts.support.comfy_host import ComfyHost
from scripts.support.examples import WORKFLOWS, Studio
from scripts.support.family import make_family

TARGET = env.ROOT / "example_workflows"


def main() -> None:
    """Ask a real host for its nodes, and write the files."""
    wanted = sys.argv[1:] or list(WORKFLOWS)
    with tempfile.TemporaryDirectory() as place:
        make_family(Path(place) / "models")
        with ComfyHost(env.ensure_comfyui(), Path(place)).start() as host:
            info = host.get("/object_info")
    for name in wanted:
        flow = Studio(info)
        WORKFLOWS[name](flow)
        _write(TARGET / f"{name}.json", flow.saved(name))
        _write(TARGET / "api" / f"{name}.json", flow.api())
        env.say(name)


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
