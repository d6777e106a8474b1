"""Writer of sd-mecha's `.mecha` text format, version 0.1.0, that does not import sd-mecha.

Importing sd-mecha takes seconds of processor time; the text that a merged file carries needs none
of it. `tests/core/test_mecha_text.py` compares every kind of recipe, byte for byte, with the text
that sd-mecha's own serializer writes.
"""

from __future__ import annotations

from pathlib import PurePath

__all__ = ["MechaText"]

_VERSION = "version 0.1.0"


class MechaText:
    """Instructions of a `.mecha` text, each written once; methods return references such as `&3`.

    The text is a list of lines; a reference is the number of the line that it stands for, counted
    from the line after the version. The last line is the result.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def model(self, file: str, config: str | None = None) -> str:
        """A model file of that name; `config` None lets sd-mecha infer the architecture."""
        told = "null" if config is None else _quoted(config)
        return self._add(
            f'model {_quoted(str(PurePath(file)))} model_config={told} merge_space="weight"'
        )

    def constant(self, value: float | str) -> str:
        """A number or a text that sd-mecha passes to a method as a parameter."""
        told = _quoted(value) if isinstance(value, str) else str(value)
        boxed = self._add(f"dict key={told}")
        literal = self._add(f'literal {boxed} model_config="singleton-mecha" merge_space=null')
        return self._add(f'merge "convert_singleton" {literal}')

    def merge(self, method: str, *arguments: str, **named: str) -> str:
        """A call of sd-mecha's merge method of that name; all arguments are references."""
        told = [*arguments, *(f"{name}={value}" for name, value in named.items())]
        return self._add(" ".join(["merge", _quoted(method), *told]))

    def __str__(self) -> str:
        """The text. It does not end in a line break: sd-mecha refuses an empty line."""
        return "\n".join([_VERSION, *self._numbers])

    def _add(self, line: str) -> str:
        return f"&{self._numbers.setdefault(line, len(self._numbers))}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
