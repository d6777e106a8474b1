"""The search for nodes: who types what people call merging finds this pack."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser

# What a person types → the node that must be among the first found of ours.
WANTED = {
    "merge": "OrthoModelSet",
    "lora merge": "OrthoAddModel",
    "slerp": "OrthoMixer",
    "block weights": "OrthoMixer",
    "weighted sum": "OrthoMixer",
    "add difference": "DeltaBaseOptimizer",
    "task arithmetic": "OrthoMergeExecute",
    "compare models": "DeltaGramAnalyzer",
}
SEARCH = """(query) => {
  const stores = document.querySelector("#vue-app").__vue_app__.config.globalProperties.$pinia._s;
  return stores.get("nodeDef").nodeSearchService.searchNode(query).map(({ name }) => name);
}"""
COLOURS = """(types) => types.map((type) => [
  app.canvas.default_connection_color_byType[type],
  LGraphCanvas.link_type_colors[type],
  getComputedStyle(document.documentElement).getPropertyValue(`--color-datatype-${type}`).trim(),
])"""


def test_the_words_of_the_trade_find_us(page):
    found = {query: page.page.evaluate(SEARCH, query) for query in WANTED}
    missing = {
        query: found[query][:5] for query, node in WANTED.items() if node not in found[query]
    }
    assert missing == {}


def test_our_wires_have_colours_under_every_palette(page):
    types = page.page.evaluate(
        """() => [...new Set(Object.values(LiteGraph.registered_node_types)
          .filter(({ nodeData }) => nodeData?.category === "OrthoMerge")
          .flatMap(({ nodeData }) => nodeData.outputs?.map(({ type }) => type) ?? [])
          .filter((type) => type.startsWith("ORTHO_")))]"""
    )
    assert "ORTHO_RECIPE" in types
    for palette in ("dark", "light"):
        page.page.evaluate(
            "(id) => app.extensionManager.setting.set('Comfy.ColorPalette', id)", palette
        )
        page.settle()
        colours = page.page.evaluate(COLOURS, types)
        assert all(len(set(three)) == 1 and three[0] for three in colours), (palette, colours)
        assert len({three[0] for three in colours}) == len(types)
