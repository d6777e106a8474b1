"""The pack, imported in this process beside a real ComfyUI tree."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from safetensors.torch import save_file

from scripts.support.env import ensure_comfyui

ROOT = Path(__file__).parents[2]
NAME = "orthomerge_pack"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs ComfyUI's own modules."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.host)


@pytest.fixture(scope="session")
def pack() -> ModuleType:
    """The pack's `nodes` package, imported the way ComfyUI does: under a name of its own."""
    sys.path.insert(0, str(ensure_comfyui()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the host's own imports
        from comfy.cli_args import args

        args.cpu = True
        spec = importlib.util.spec_from_file_location(
            NAME, ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
        )
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[NAME] = module
        spec.loader.exec_module(module)
        return importlib.import_module(f"{NAME}.nodes")


@pytest.fixture(scope="session")
def host(pack: ModuleType) -> ModuleType:
    """`nodes/host`."""
    return pack.host


@pytest.fixture(scope="session")
def errors(pack: ModuleType) -> ModuleType:
    """The pack's own copy of the error classes."""
    return sys.modules[f"{NAME}.orthomerge_core.errors"]


@pytest.fixture
def folders(pack: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Model folders with a few tiny files in them; also output and user folders."""
    import folder_paths

    for name in ("diffusion_models/sub", "checkpoints", "output", "user"):
        (tmp_path / name).mkdir(parents=True)
    known = {
        key: ([str(tmp_path / key)], folder_paths.supported_pt_extensions)
        for key in ("diffusion_models", "checkpoints")
    }
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", known)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path / "output"))
    monkeypatch.setattr(folder_paths, "user_directory", str(tmp_path / "user"))
    for name in ("base", "sub/detail", "sub/flash"):
        save_file({"w": torch.ones(2)}, tmp_path / "diffusion_models" / f"{name}.safetensors")
    save_file({"w": torch.ones(2)}, tmp_path / "checkpoints" / "base.safetensors")
    (tmp_path / "checkpoints" / "old.ckpt").write_bytes(b"pickle")
    yield tmp_path
