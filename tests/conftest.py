"""Shape checks for the tensor code, and fixtures around the real ComfyUI."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

from scripts.support.comfy_host import ComfyHost
from scripts.support.env import CACHE, ensure_chromium, ensure_comfyui, ensure_frontend

# Every annotated tensor that these packages take or return is checked in the tests of this process;
# the product itself runs without jaxtyping and beartype.
# An int is a float here, as in PEP 484.
install_import_hook(
    ["orthomerge_core.linalg", "orthomerge_core.methods"],
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)


@pytest.fixture(scope="session")
def host_models() -> Path:
    """A ComfyUI `models` folder with the demo family, made once and reused between runs."""
    from scripts.support.family import make_family

    models = CACHE / "host" / "models"
    make_family(models)
    return models


@pytest.fixture(scope="session")
def start_host(
    host_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., ComfyHost]]:
    """Start a real ComfyUI of one's own: `start_host(frontend="1.58.1", with_pack=True, …)`.

    Each host has its own base folder with its own copy of the model family, so tests may change
    files. All hosts are stopped at the end of the session.
    """
    started: list[ComfyHost] = []

    def start(*, frontend: str | None = None, **options: object) -> ComfyHost:
        base = tmp_path_factory.mktemp("comfy")
        shutil.copytree(host_models, base / "models", copy_function=_copy)
        static = ensure_frontend(frontend) if frontend else None
        host = ComfyHost(ensure_comfyui(), base, frontend=static, **options)  # type: ignore[arg-type]
        host.start()
        started.append(host)
        return host

    yield start
    for host in started:
        host.stop()


@pytest.fixture(scope="session")
def comfy(start_host: Callable[..., ComfyHost]) -> ComfyHost:
    """One ComfyUI with the pack, shared by all tests of a session."""
    return start_host()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a Chromium that runs."""
    return ensure_chromium()


def _copy(source: str, target: str) -> None:
    """Small files are copied, so that tests may change them; the text encoder is linked."""
    if Path(source).stat().st_size > 64 << 20:
        Path(target).symlink_to(source)  # a hard link would change the ctime that hosts look at
    else:
        shutil.copy2(source, target)
