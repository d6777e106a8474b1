from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest

from orthomerge_core.errors import AnalysisError, RecipeError
from orthomerge_core.optimize.delta_base import optimize_parents
from orthomerge_core.optimize.proposal import Proposal, proposal_recipe
from orthomerge_core.optimize.settings import OptimizeSettings
from tests.core.optimize.builders import Floats, analysis_of, family, random_tree


def proposal_of(models: dict[str, list[Floats]], **settings: object) -> Proposal:
    base = models.pop("base")
    analysis = analysis_of(models, base)
    return optimize_parents(
        analysis,
        OptimizeSettings(**settings),  # type: ignore[arg-type]
        quality=[0.5] * len(models),
    )


def rows(proposal: Proposal) -> dict[str, tuple[bool, str, int]]:
    return {r.model: (r.enabled, r.delta_from, r.repeat) for r in proposal.rows}


@pytest.mark.parametrize("search", ["local", "exhaustive", "auto"])
@pytest.mark.parametrize("seed", range(4))
def test_true_ancestry_is_found_and_the_twin_left_out(search: str, seed: int) -> None:
    proposal = proposal_of(family(seed, 4000), search=search)
    assert dict(proposal.parents) == {
        "child": "base",
        "grandchild": "child",
        "twin": "child",
        "stranger": "base",
    }
    assert [r.model for r in proposal.rows if not r.enabled] == ["twin"]
    assert [r.repeat for r in proposal.rows] == [1, 1, 1, 1]
    info = {r.model: r.info for r in proposal.rows}
    assert info["child"] == "from the base"
    assert re.fullmatch(r"via child: 4[789] % more focused", info["grandchild"])
    assert info["twin"] == "near-duplicate of child: differs by 2 % of its change"
    assert proposal.chains["grandchild"] == ("child", "base")


def test_identical_models_are_off_and_named() -> None:
    rng = np.random.default_rng(3)
    base, model = rng.standard_normal(300), rng.standard_normal(300)
    proposal = proposal_of({"base": [base], "a": [model], "copy": [model], "same": [base]})
    assert rows(proposal) == {
        "a": (True, "base", 1),
        "copy": (False, "a", 1),
        "same": (False, "base", 1),
    }
    assert [r.info for r in proposal.rows] == [
        "from the base",
        "identical to a",
        "identical to the base",
    ]
    assert [w.kind for w in proposal.warnings] == ["null", "null"]


def test_all_models_equal_to_the_base_leave_nothing_to_merge() -> None:
    base = np.ones(8)
    proposal = proposal_of({"base": [base], "a": [base], "b": [base]})
    assert not any(r.enabled for r in proposal.rows)
    assert proposal.warnings[0].kind == "empty"
    assert proposal.objective == 1.0
    assert proposal.second_best is None


def test_one_model_is_its_own_answer() -> None:
    proposal = proposal_of({"base": [np.zeros(4)], "only": [np.arange(4.0)]})
    assert rows(proposal) == {"only": (True, "base", 1)}
    assert (proposal.objective, proposal.regret_start, proposal.lead) == (1.0, 0.0, None)
    assert proposal.figures[0].new_information is None


def test_the_same_change_on_two_parents_is_redundant() -> None:
    rng = np.random.default_rng(5)
    one, two, lora = (rng.standard_normal(500) for _ in range(3))
    models = {
        "base": [np.zeros(500)],
        "one": [one],
        "two": [two],
        "one-lora": [one + 0.5 * lora],
        "two-lora": [two + 0.5 * lora],
    }
    base = models.pop("base")
    analysis = analysis_of(models, base)
    settings = OptimizeSettings(min_gain=0.05)  # keep the true tree
    proposal = optimize_parents(analysis, settings, quality=[0.5, 0.5, 0.4, 0.6])
    assert rows(proposal)["one-lora"] == (False, "one", 1)
    assert rows(proposal)["two-lora"][:2] == (True, "two")
    assert proposal.rows[2].info == "redundant to two-lora, cos 1.00"
    proposal = optimize_parents(
        analysis, OptimizeSettings(min_gain=0.05, redundancy=1.0), quality=[0.5] * 4
    )
    assert all(r.enabled for r in proposal.rows)


def test_opposition_is_warned_about_and_not_called_redundant() -> None:
    change = np.random.default_rng(6).standard_normal(400)
    proposal = proposal_of({"base": [np.zeros(400)], "up": [change], "down": [-change]})
    assert all(r.enabled for r in proposal.rows)
    assert proposal.warnings[0].kind == "opposed"
    assert "cancel" in proposal.warnings[0].text
    assert proposal.rows[0].info == "from the base; works against down, cos -1.00"


def test_a_row_that_is_new_among_similar_ones_counts_twice() -> None:
    rng = np.random.default_rng(7)
    shared = rng.standard_normal(2000)
    similar = {f"s{i}": [shared + 1.1 * rng.standard_normal(2000)] for i in range(6)}
    proposal = proposal_of(
        {"base": [np.zeros(2000)], **similar, "new": [rng.standard_normal(2000)]},
        search="local",
        redundancy=1.0,
        repeat_threshold=0.85,
    )
    repeats = {name: repeat for name, (_, _, repeat) in rows(proposal).items()}
    assert repeats == {"new": 2} | dict.fromkeys(similar, 1)
    assert proposal.rows[6].info == "from the base; 100 % new information, so it counts twice"


def test_nothing_is_repeated_unless_it_is_asked_for() -> None:
    rng = np.random.default_rng(7)
    shared = rng.standard_normal(2000)
    similar = {f"s{i}": [shared + 1.1 * rng.standard_normal(2000)] for i in range(6)}
    proposal = proposal_of(
        {"base": [np.zeros(2000)], **similar, "new": [rng.standard_normal(2000)]}
    )
    assert {r.repeat for r in proposal.rows} == {1}


def test_unrelated_models_are_never_all_repeated() -> None:
    rng = np.random.default_rng(8)
    models = {f"m{i}": [rng.standard_normal(3000)] for i in range(4)}
    proposal = proposal_of({"base": [np.zeros(3000)], **models}, repeat_threshold=0.85)
    assert {r.repeat for r in proposal.rows} == {1}
    assert all((f.new_information or 0) > 0.99 for f in proposal.figures)


def test_a_missing_ancestor_is_offered_for_enabling() -> None:
    rng = np.random.default_rng(9)
    a, b, own = (rng.standard_normal(800) for _ in range(3))
    models = {
        "base": [np.zeros(800)],
        "first": [a],
        "second": [b],
        "first-more": [a + 0.6 * own],
        "second-more": [b + 0.6 * own],
        "leaf": [a + 0.6 * own + 0.4 * rng.standard_normal(800)],
    }
    base = models.pop("base")
    analysis = analysis_of(models, base)
    proposal = optimize_parents(analysis, quality=[0.5, 0.5, 0.1, 0.9, 0.5])
    assert rows(proposal)["first-more"][0] is False
    assert rows(proposal)["leaf"][:2] == (True, "first-more")
    (notice,) = [w for w in proposal.warnings if w.kind == "reconstruction"]
    assert notice.to_json()["suggestion"] == {"action": "enable", "models": ["first-more"]}
    assert "builds on first-more, which is off" in proposal.rows[4].info


def test_proposal_survives_json() -> None:
    proposal = proposal_of(family())
    again = Proposal.from_json(proposal.to_json())
    assert again == proposal
    with pytest.raises(AnalysisError, match="proposal of another version: expected 1"):
        Proposal.from_json(proposal.to_json() | {"version": 9})
    with pytest.raises(AnalysisError, match=r"not a proposal .* Run the optimizer again\."):
        Proposal.from_json({"version": 1})


def test_proposal_becomes_a_recipe() -> None:
    models = family()
    analysis = analysis_of({k: v for k, v in models.items() if k != "base"}, models["base"])
    recipe = proposal_recipe(
        analysis, optimize_parents(analysis, quality=[0.5] * 4), "task_arithmetic", {}
    )
    assert recipe.base == "base.safetensors"
    assert recipe.base_hash == "b0"
    assert recipe.models["twin"].file == "twin.safetensors"
    assert recipe.models["twin"].content_hash == "h-twin"
    assert len(recipe.rows) == 4
    with pytest.raises(RecipeError, match='unknown option "speed" of method average'):
        proposal_recipe(
            analysis, optimize_parents(analysis, quality=[0.5] * 4), "average", {"speed": 1}
        )


def test_damaged_models_are_off_and_nobodys_parents() -> None:
    rng = np.random.default_rng(4)
    base, change, more = rng.standard_normal((3, 50))
    models = {"child": [base + change + 0.1 * more], "nan": [base], "torn": [base + change]}
    analysis = analysis_of(models, [base])
    sound = optimize_parents(analysis, quality=[0.5] * 3)
    assert sound.parents["child"] == "torn" and sound.rows[2].enabled
    counts = np.array([[0, 0, 50, 1]])
    proposal = optimize_parents(dataclasses.replace(analysis, nonfinite=counts), quality=[0.5] * 3)
    assert [row.enabled for row in proposal.rows] == [True, False, False]
    assert set(proposal.parents.values()) == {"base"}
    assert proposal.rows[1].info == "without a usable change, 50 values are not finite"
    assert proposal.rows[2].info == "damaged: 1 value is not finite"
    cure = "With it, tensors that hold one would come from the base. Get a sound copy."
    assert [w.text for w in proposal.warnings] == [
        f"nan is off: 50 values are not finite. {cure}",
        f"torn is off: 1 value is not finite. {cure}",
    ]


def test_what_the_base_lacks_damages_no_model() -> None:
    rng = np.random.default_rng(4)
    base, sound = rng.standard_normal((2, 50))
    analysis = analysis_of({"a": [base, sound]}, [base, base])
    counts = np.array([[3, 3], [0, 0]])
    proposal = optimize_parents(dataclasses.replace(analysis, nonfinite=counts), quality=[0.5])
    assert proposal.rows[0].enabled and not proposal.warnings
    torn = dataclasses.replace(analysis, nonfinite=np.array([[3, 3], [0, 2]]))
    empty = optimize_parents(torn, quality=[0.5]).warnings[0]
    assert empty.text == "No sound model differs from the base: there is nothing to merge."


def test_unknown_quality_is_plain_json_and_keeps_the_earlier_model() -> None:
    change = np.random.default_rng(1).standard_normal(64)
    models = {name: [change * s] for name, s in (("a", 1.0), ("b", 3.0))}
    analysis = analysis_of(models, [np.zeros(64)])
    proposal = optimize_parents(analysis, quality=[float("nan")] * 2)
    assert [r.enabled for r in proposal.rows] == [True, False]
    assert proposal.figures[0].quality is None
    json.dumps(proposal.to_json(), allow_nan=False)


def test_settings_refuse_what_cannot_be() -> None:
    with pytest.raises(RecipeError, match='option "search": expected one of auto'):
        OptimizeSettings(search="best")
    with pytest.raises(RecipeError, match=r"at most 7 models, received 9\. Set search to local"):
        OptimizeSettings(search="exhaustive").search_for(9)
    with pytest.raises(RecipeError, match=r'unknown optimizer setting "sweeps"\. Did you mean'):
        OptimizeSettings.from_json({"sweeps": 3})
    settings = OptimizeSettings(max_sweeps=3)
    assert OptimizeSettings.from_json(settings.to_json()) == settings


def test_an_analysis_without_models_is_refused() -> None:
    with pytest.raises(AnalysisError, match=r"without models.*Add a fine-tune"):
        optimize_parents(analysis_of({}, [np.ones(3)]), quality=[])


def test_thirty_two_models_are_searched_locally() -> None:
    analysis = random_tree(np.random.default_rng(0), 32)
    proposal = optimize_parents(analysis, quality=[0.5] * 32)
    assert (proposal.search, proposal.exact, proposal.regret_local) == ("local", False, None)
    assert proposal.objective >= proposal.start_objective
    assert proposal.second_best is not None
    assert proposal.second_best <= proposal.objective + 1e-3
