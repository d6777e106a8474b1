"""ComfyUI's HTTP interface, as far as a preview needs it; standard library only."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..errors import OrthoMergeError, RecipeError, WriteError, did_you_mean
from ..io.rawfile import explain_os_error
from ..progress import Progress

__all__ = ["ComfyApi", "Run", "set_input"]

_POLL_S = 0.25


@dataclass(frozen=True)
class Run:
    """What a prompt left: images as ComfyUI names them, and texts of its nodes."""

    prompt_id: str
    images: tuple[dict[str, str], ...]
    texts: tuple[str, ...]


class ComfyApi:
    """A running ComfyUI. Raises `OrthoMergeError` with ComfyUI's own reason."""

    def __init__(self, address: str) -> None:
        scheme = urllib.parse.urlsplit(address).scheme
        if scheme not in ("http", "https"):
            raise RecipeError(
                "address of ComfyUI",
                expected="http://host:port",
                received=repr(address[:80]),
                fix="Correct --api or COMFYUI_API.",
            )
        self._address = address.rstrip("/")

    def run(self, graph: dict[str, Any], progress: Progress, timeout_s: float) -> Run:
        """Post a prompt and follow it to its end; stopping here interrupts it there."""
        # Of nodes that it takes from its cache, ComfyUI tells the outputs to a named client only.
        posted = self._json("/prompt", {"prompt": graph, "client_id": uuid.uuid4().hex})
        if not isinstance(posted, dict) or "prompt_id" not in posted:
            raise _stranger()
        prompt_id = str(posted["prompt_id"])
        progress.start(float(len(graph)), "ComfyUI runs the workflow")
        try:
            entry = self._wait(prompt_id, progress, timeout_s)
        except BaseException:
            self._stop(prompt_id)
            raise
        return _read_entry(prompt_id, entry)

    def save(self, image: dict[str, str], folder: Path) -> Path:
        """Fetch an image into `folder` under its own name, numbered where that is taken."""
        query = urllib.parse.urlencode(
            {k: image.get(k, "") for k in ("filename", "subfolder", "type")}
        )
        data = self._request(f"/view?{query}")
        name = PurePosixPath(image["filename"].replace("\\", "/")).name or "image.png"
        path, number = folder / name, 2
        while path.exists():
            path = folder / f"{Path(name).stem} ({number}){Path(name).suffix}"
            number += 1
        try:
            path.write_bytes(data)
        except OSError as error:
            reason = explain_os_error(error)
            what = f'"{path.name}" cannot be written'
            raise WriteError(what, received=reason, fix="Choose another folder.") from None
        return path

    def _wait(self, prompt_id: str, progress: Progress, timeout_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            entry = self._json(f"/history/{prompt_id}").get(prompt_id)
            if entry and entry.get("status", {}).get("completed") is not None:
                return dict(entry)
            progress.check()
            time.sleep(_POLL_S)
        raise OrthoMergeError(
            f"ComfyUI did not finish within {timeout_s:g} s", fix="Give a longer --timeout."
        )

    def _stop(self, prompt_id: str) -> None:
        for path, body in (
            ("/queue", {"delete": [prompt_id]}),
            ("/interrupt", {"prompt_id": prompt_id}),
        ):
            with suppress(OrthoMergeError):
                self._request(path, body)

    def _json(self, path: str, body: Any = None) -> Any:
        try:
            return json.loads(self._request(path, body))
        except ValueError:
            raise _stranger() from None

    def _request(self, path: str, body: Any = None) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked
            self._address + path, data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
                return bytes(answer.read())
        except urllib.error.HTTPError as error:
            raise OrthoMergeError(_refusal(error.read()), fix="Correct the workflow.") from None
        except (urllib.error.URLError, http.client.HTTPException, OSError):
            fix = "Start it, or name its address with --api or COMFYUI_API."
            raise OrthoMergeError("ComfyUI does not answer", fix=fix) from None


def _stranger() -> OrthoMergeError:
    fix = "Name ComfyUI's address with --api or COMFYUI_API."
    return OrthoMergeError("what answers at this address is not ComfyUI", fix=fix)


def set_input(graph: dict[str, Any], change: str) -> None:
    """Apply `node.input=value`: a node by id, title or class; a value as JSON, else as text."""
    place, separator, text = change.partition("=")
    name, dot, field = place.rpartition(".")
    if not separator or not dot:
        raise RecipeError(
            f'--set "{change[:80]}"', expected="NODE.INPUT=VALUE", fix="E.g. --set 3.seed=7."
        )
    node = _find_node(graph, name)
    if field not in node.get("inputs", {}):
        known = tuple(node.get("inputs", {}))
        raise RecipeError(f'node "{name}" has no input "{field}"', fix=did_you_mean(field, known))
    try:
        node["inputs"][field] = json.loads(text)
    except ValueError:
        node["inputs"][field] = text


def _find_node(graph: dict[str, Any], name: str) -> dict[str, Any]:
    if name in graph:
        return dict.__getitem__(graph, name)
    found = [
        node
        for node in graph.values()
        if name in (node.get("class_type"), node.get("_meta", {}).get("title"))
    ]
    if len(found) == 1:
        return found[0]
    if found:
        fix = "Name it by its id."
        raise RecipeError(f'{len(found)} nodes are called "{name}"', fix=fix)
    known = tuple(graph) + tuple(node["class_type"] for node in graph.values())
    raise RecipeError(f'no node "{name}" in the workflow', fix=did_you_mean(name, known))


def _read_entry(prompt_id: str, entry: dict[str, Any]) -> Run:
    status = entry.get("status", {})
    if status.get("status_str") == "error":
        raise OrthoMergeError(_failure(status.get("messages", [])), fix="See ComfyUI's log.")
    outputs = entry.get("outputs", {}).values()
    images = [image for output in outputs for image in output.get("images", [])]
    texts = [text for output in outputs for text in output.get("text", [])]
    return Run(prompt_id, tuple(images), tuple(str(text) for text in texts))


def _failure(messages: list[Any]) -> str:
    for kind, body in messages:
        if kind == "execution_error":
            reason = str(body.get("exception_message", "")).strip().split("\n")[0]
            return f"node {body.get('node_id')} ({body.get('node_type')}) failed: {reason}"
        if kind == "execution_interrupted":
            return "ComfyUI was told to stop"
    return "ComfyUI could not run the workflow"


def _refusal(body: bytes) -> str:
    """ComfyUI's validation errors in one line."""
    try:
        answer = json.loads(body)
        nodes = answer.get("node_errors") or {}
        details = [
            f"node {key} ({node.get('class_type')}): {error['message']}, {error['details']}"
            for key, node in nodes.items()
            for error in node.get("errors", [])
        ]
        return "; ".join(details) or f"ComfyUI refused it: {answer['error']['message']}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "ComfyUI refused the request"
