"""HTTP routes for the browser: the list of files, and the models of a set."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ...orthomerge_core.errors import FileError, OrthoMergeError
from .files import listing

__all__ = ["add_routes"]

_LONGEST = 1 << 18  # characters of a request; a set holds at most a few dozen names


def add_routes(describe_set: Callable[[str, str], Mapping[str, Any]]) -> None:
    """Serve GET /orthomerge/models and POST /orthomerge/set on the running host.

    describe_set: base and models as the node has them → JSON. Both answers hold names as the
    host's folders show them, never a path. Files are looked at in another thread, because the
    host's event loop must not wait for a disk.
    """
    # Not imported here: a process that only looks at the nodes has no server, and needs none.
    prompt_server = getattr(sys.modules.get("server"), "PromptServer", None)
    server = getattr(prompt_server, "instance", None)
    if server is None:
        return
    from aiohttp import web

    async def models(_: Any) -> Any:
        return web.json_response({"files": await asyncio.to_thread(listing)})

    async def members(request: Any) -> Any:
        try:
            asked = await _asked(request)
            return web.json_response(await asyncio.to_thread(describe_set, *asked))
        except (OrthoMergeError, ValueError) as error:
            return web.json_response({"error": str(error)}, status=400)

    server.routes.get("/orthomerge/models")(models)
    server.routes.post("/orthomerge/set")(members)


async def _asked(request: Any) -> tuple[str, str]:
    """Base and models of a request; `FileError` for anything else."""
    text = await request.text()
    found = await request.json() if len(text) <= _LONGEST else None
    values = [found.get(name, "") for name in ("base", "models")] if isinstance(found, dict) else []
    if not values or not all(isinstance(value, str) for value in values):
        raise FileError("not a request for a set", expected='{"base": "…", "models": "…"}')
    return values[0], values[1]
