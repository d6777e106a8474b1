"""The nodes: thin adapters over `orthomerge_core`, one per file."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from . import host
from .add_model import OrthoAddModel
from .analyzer import DeltaGramAnalyzer
from .compatibility_fix import CompatibilityFix
from .extract_lora import OrthoExtractLoRA
from .grid import OrthoGrid
from .grid_picture import OrthoGridPicture
from .merge_execute import OrthoMergeExecute
from .merge_save import OrthoMergeSave
from .mixer import OrthoMixer
from .model_set import OrthoModelSet, members
from .optimizer import DeltaBaseOptimizer
from .pick_model import OrthoPickModel
from .picture_score import OrthoPictureScore
from .recipe import OrthoRecipe
from .tune import OrthoTune
from .tune_result import OrthoTuneResult

__all__ = ["NODES", "Extension"]

NODES: tuple[type[io.ComfyNode], ...] = (
    OrthoModelSet,
    OrthoAddModel,
    CompatibilityFix,
    DeltaGramAnalyzer,
    DeltaBaseOptimizer,
    OrthoMixer,
    OrthoMergeExecute,
    OrthoMergeSave,
    OrthoRecipe,
    OrthoPickModel,
    OrthoGrid,
    OrthoGridPicture,
    OrthoExtractLoRA,
    OrthoTune,
    OrthoTuneResult,
    OrthoPictureScore,
)


class Extension(ComfyExtension):
    """What `comfy_entrypoint` hands to ComfyUI."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Every node of the pack. The host asks once, before it opens its routes."""
        host.add_routes(members)
        return list(NODES)
