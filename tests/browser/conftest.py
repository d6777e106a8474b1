"""One host for each frontend and one browser, shared by all tests of this folder.

Their scope is the folder: Playwright's event loop must be gone before other tests start their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.support.browser import Browser, Studio, open_browser
from scripts.support.comfy_host import ComfyHost
from scripts.support.env import ROOT

FRONTENDS = (None, "1.58.1")


@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    """One Chromium."""
    with open_browser(chromium) as opened:
        yield opened


@pytest.fixture(scope="package", params=FRONTENDS, ids=["1.32.9", "1.58.1"])
def frontend(request: pytest.FixtureRequest) -> str | None:
    """A release of ComfyUI's frontend; None is the one that came with it."""
    return request.param


@pytest.fixture(scope="package")
def host(frontend: str | None, start_host: Callable[..., ComfyHost]) -> Iterator[ComfyHost]:
    """ComfyUI with the pack, under each frontend in turn."""
    started = start_host(frontend=frontend)
    yield started
    started.stop()


@pytest.fixture(params=[False, True], ids=["canvas", "vue"])
def vue(request: pytest.FixtureRequest) -> bool:
    """The two ways in which ComfyUI draws nodes."""
    return bool(request.param)


@pytest.fixture
def page(host: ComfyHost, browser: Browser, vue: bool) -> Iterator[Studio]:
    """An open page without a workflow."""
    with browser.page(host, vue=vue) as studio:
        yield studio.open()


@pytest.fixture
def studio(page: Studio) -> Studio:
    """The quickstart with its mixer in view."""
    return page.load()


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """Where a picture for people goes; its name tells frontend and renderer."""
    case = request.node.callspec.id
    return lambda name: ROOT / "artifacts" / f"{name}-{case}.png"
