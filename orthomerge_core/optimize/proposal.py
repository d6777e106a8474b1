"""The optimizer's proposal: rows with their reasons, and how certain they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..analysis.result import Analysis
from ..errors import AnalysisError
from ..methods.registry import DEFAULT_METHOD, get_method
from ..recipe.codec import row_from_json, row_to_json
from ..recipe.model import BASE, ModelRef, Recipe, Row

__all__ = ["Figures", "Notice", "Proposal", "proposal_recipe"]

PROPOSAL_VERSION = 1

_PLAIN = (
    "search",
    "exact",
    "objective",
    "best_objective",
    "start_objective",
    "local_objective",
    "second_best",
    "looked_at",
)


@dataclass(frozen=True)
class Figures:
    """What the reason of one row rests on.

    norm: ‖M − P‖. base_norm: ‖M − B‖. improvement: 1 − norm / base_norm, 0 for the base as parent.
    new_information: mean of 1 − cos² against the other enabled rows, 0..1; None without any.
    quality: 0..1 from the analysis, None where it is unknown. All norms are Euclidean, over the
    diffusion model's tensors.
    """

    model: str
    parent: str
    norm: float
    base_norm: float
    improvement: float
    new_information: float | None
    quality: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return dict(vars(self))


@dataclass(frozen=True)
class Notice:
    """Something a person should know about the proposal.

    kind: nonfinite | null | duplicate | redundant | group | opposed | reconstruction | empty |
    lineage | component. models: whom it is about, the one to act on first. enable: models whose
    rows would have to be switched on to cure it.
    """

    kind: str
    models: tuple[str, ...]
    text: str
    enable: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `suggestion` is what a button may do."""
        action = {"action": "enable", "models": list(self.enable)} if self.enable else None
        return {
            "kind": self.kind,
            "models": list(self.models),
            "text": self.text,
            "suggestion": action,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Notice:
        """The reverse of `to_json`."""
        action = value.get("suggestion") or {}
        return cls(
            value["kind"], tuple(value["models"]), value["text"], tuple(action.get("models", ()))
        )


@dataclass(frozen=True)
class Proposal:
    """Rows in the analysis' order of models, one per model.

    parents: model → parent, of all models, disabled ones too. start_parents: those of the tree.
    objective: total orthogonality of `parents`, 0..1, higher is better; start_objective that of the
    tree; local_objective that of local search; best_objective the highest known, which lies at most
    `min_gain` above the proposal's; second_best that of the best other assignment (of all when
    `exact`, else of those one step away), None where there is no other.
    exact: every admissible assignment was compared, so that regrets are true ones.
    cosines: cos(δ_i, δ_j) of `parents`, N lists of N.
    """

    names: tuple[str, ...]
    rows: tuple[Row, ...]
    parents: Mapping[str, str]
    start_parents: Mapping[str, str]
    search: str
    exact: bool
    objective: float
    best_objective: float
    start_objective: float
    local_objective: float
    second_best: float | None
    looked_at: int
    figures: tuple[Figures, ...]
    cosines: tuple[tuple[float, ...], ...]
    warnings: tuple[Notice, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def regret_start(self) -> float:
        """What the tree lacks to the best known total orthogonality."""
        return self.best_objective - self.start_objective

    @property
    def regret_local(self) -> float | None:
        """What local search lacks to the true optimum; None where that is not known."""
        return self.best_objective - self.local_objective if self.exact else None

    @property
    def lead(self) -> float | None:
        """By how much the proposal beats the best other assignment; None without another.

        At or below 0: as orthogonal an assignment exists, with larger deltas.
        """
        return None if self.second_best is None else self.objective - self.second_best

    @property
    def chains(self) -> dict[str, tuple[str, ...]]:
        """model → its ancestors, parent first, the base last."""
        return {name: _chain(self.parents, name) for name in self.names}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON with the regrets and chains spelt out; `from_json` ignores those."""
        return {
            "version": PROPOSAL_VERSION,
            "names": list(self.names),
            "rows": [row_to_json(r) for r in self.rows],
            "parents": dict(self.parents),
            "start_parents": dict(self.start_parents),
            **{name: getattr(self, name) for name in _PLAIN},
            "regret_start": self.regret_start,
            "regret_local": self.regret_local,
            "lead": self.lead,
            "chains": {name: list(chain) for name, chain in self.chains.items()},
            "figures": [f.to_json() for f in self.figures],
            "cosines": [list(row) for row in self.cosines],
            "warnings": [w.to_json() for w in self.warnings],
            "settings": dict(self.settings),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Proposal:
        """The reverse of `to_json`; raises `AnalysisError` for anything else."""
        try:
            if value["version"] != PROPOSAL_VERSION:
                raise AnalysisError(
                    "proposal of another version",
                    expected=PROPOSAL_VERSION,
                    received=value["version"],
                    fix="Run the optimizer again.",
                )
            return cls(
                names=tuple(value["names"]),
                rows=tuple(row_from_json(row) for row in value["rows"]),
                parents=dict(value["parents"]),
                start_parents=dict(value["start_parents"]),
                **{name: value[name] for name in _PLAIN},
                figures=tuple(Figures(**f) for f in value["figures"]),
                cosines=tuple(tuple(row) for row in value["cosines"]),
                warnings=tuple(Notice.from_json(w) for w in value["warnings"]),
                settings=dict(value["settings"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise AnalysisError(
                f"this is not a proposal ({type(error).__name__}: {error})",
                fix="Run the optimizer again.",
            ) from error


def _chain(parents: Mapping[str, str], name: str) -> tuple[str, ...]:
    chain: list[str] = []
    while name != BASE:
        name = parents[name]
        chain.append(name)
    return tuple(chain)


def proposal_recipe(
    analysis: Analysis,
    proposal: Proposal,
    method: str = DEFAULT_METHOD,
    options: Mapping[str, Any] | None = None,
) -> Recipe:
    """The proposal as a complete recipe, with the hashes of the files that were analyzed and the
    repairs that read them.

    Without `options` they are what the method suggests to a new mix. Unknown methods and options
    raise `RecipeError`.
    """
    chosen = get_method(method)
    options = chosen.new_options() if options is None else options
    chosen.check_options(options)
    files = dict(zip(analysis.names, analysis.files, strict=True))
    hashes = analysis.content_hashes
    return Recipe(
        base=analysis.base,
        models={name: ModelRef(files[name], hashes.get(name)) for name in proposal.names},
        rows=proposal.rows,
        method=method,
        options=dict(options),
        architecture=analysis.architecture,
        base_hash=hashes.get(BASE),
        repairs=dict(analysis.repairs),
        components=analysis.scope,
    )
