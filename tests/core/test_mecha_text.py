"""Our writer of `.mecha` text against sd-mecha's own serializer, byte for byte."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orthomerge_core import mecha
from orthomerge_core.errors import UnsupportedError
from orthomerge_core.methods.registry import all_methods
from orthomerge_core.recipe.model import BASE, ModelRef, Recipe, Row, TextureBoost
from tests.core.mecha_family import recipe_for

sd_mecha = pytest.importorskip("sd_mecha")
pytestmark = pytest.mark.filterwarnings("ignore")  # sd-mecha and tqdm warn about their own things

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("detail", "flash", "style")
ALPHAS = st.floats(-5, 5, allow_nan=False) | st.integers(-5, 5)
CONFIG = "sdxl-sgm"


def oracle(recipe: Recipe, config: str | None = None) -> str:
    """sd-mecha's text of the same graph."""
    return sd_mecha.serialize(mecha.recipe_node(recipe, config), finalize=False)


def rows():
    row = st.builds(
        Row,
        st.sampled_from(NAMES),
        delta_from=st.sampled_from((BASE, *NAMES)),
        alpha=ALPHAS,
        enabled=st.booleans(),
        repeat=st.integers(1, 3),
        layers=st.sampled_from(("", " ", '"\\*attn*=0.5, default=1')),
    )
    return st.lists(row.filter(lambda r: r.model != r.delta_from), max_size=5).map(tuple)


@settings(deadline=None)
@given(
    rows(),
    st.sampled_from(("task_arithmetic", "orthogonal_projection", "average")),
    st.builds(TextureBoost, st.sampled_from((None, *NAMES)), st.sampled_from((0.0, 0.25))),
    st.text(st.sampled_from('a\\"= é√./'), min_size=1, max_size=8),
    st.sampled_from((None, CONFIG)),
)
def test_any_recipe_gives_the_text_that_sd_mecha_writes(rows, method, boost, name, config):
    models = {n: ModelRef(f"{name}{n}.safetensors") for n in NAMES}
    recipe = Recipe(f"{name}.safetensors", models, rows, method=method, texture_boost=boost)
    assert mecha.recipe_text(recipe, config) == oracle(recipe, config)


@pytest.mark.parametrize("method", sorted(all_methods()))
def test_every_method_gives_the_text_that_sd_mecha_writes(method):
    assert mecha.recipe_text(recipe_for(method)) == oracle(recipe_for(method))


def test_a_model_of_the_graph_cannot_be_exported():
    recipe = recipe_for("ties")
    name = next(iter(recipe.models))
    live = replace(recipe, models={**recipe.models, name: ModelRef(f"MODEL {name}", live=True)})
    for write in (mecha.recipe_text, mecha.script_text):
        with pytest.raises(UnsupportedError, match=f'"{name}" was a MODEL connected in ComfyUI'):
            write(live)


def test_the_text_is_written_without_importing_sd_mecha():
    code = (
        "import sys; from orthomerge_core import mecha;"
        "from tests.core.mecha_family import recipe_for;"
        "assert mecha.recipe_text(recipe_for('ties')).startswith('version');"
        "sys.exit('sd_mecha' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
