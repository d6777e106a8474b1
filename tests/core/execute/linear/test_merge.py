"""Chunks and threads change memory and time only."""

import pytest

from orthomerge_core.execute.fallback import Work
from orthomerge_core.execute.linear.merge import LinearMerge
from orthomerge_core.execute.output.retention import Retention
from orthomerge_core.execute.output.sinks import StateDictSink
from orthomerge_core.execute.output.tensor_writer import Emitter
from orthomerge_core.execute.plan.planner import plan_merge
from orthomerge_core.progress import Progress
from orthomerge_core.recipe.model import Row, TextureBoost
from tests.core.execute.conftest import live_spec, recipe_for


def merge(family, chunk, threads, method="task_arithmetic", **fields):
    spec, sink = live_spec(family), StateDictSink()
    rows = (Row("a"), Row("child", "a", layers="blocks.0=0"), Row("b", alpha=-0.3))
    with plan_merge(recipe_for(spec, *rows, method=method, **fields), spec) as plan:
        sink.begin(plan.layout(), {})
        retention = Retention([row.label for row in plan.rows])
        work = Work(plan, Emitter(sink, plan.aligned.base), retention, Progress())
        LinearMerge(work, plan.method, chunk=chunk, threads=threads).run()
        sink.finish({})
    return sink.state_dict, retention, work.emitter.hashes


@pytest.mark.parametrize("method", ["task_arithmetic", "average", "orthogonal_projection"])
@pytest.mark.parametrize("output", ["base", "fp32", "fp8_e4m3fn"])
def test_chunks_and_threads_change_no_bit(family, method, output):
    family["a"]["blocks.1.mlp.weight"] = family["base"]["blocks.1.mlp.weight"].clone()
    boost = TextureBoost("b", 0.2)
    whole = merge(family, 1 << 15, 1, method, output_dtype=output, texture_boost=boost)
    for chunk, threads in ((7, 1), (1024, 3)):  # rounded up to 1024: the largest tensor is halved
        cut = merge(family, chunk, threads, method, output_dtype=output, texture_boost=boost)
        assert cut[2] == whole[2]
        assert cut[1].shares() == pytest.approx(whole[1].shares(), abs=1e-6)


def test_each_file_is_read_once_by_a_sum_and_twice_by_a_projection(family):
    for method, times in (("task_arithmetic", 1), ("orthogonal_projection", 2)):
        spec = live_spec(family)
        with plan_merge(recipe_for(spec, Row("a"), method=method), spec) as plan:
            sink = StateDictSink()
            sink.begin(plan.layout(), {})
            work = Work(plan, Emitter(sink, plan.aligned.base), Retention(["a"]), Progress())
            LinearMerge(work, plan.method).run()
        reads = spec.models[0].source.reads
        assert sorted({k for k, _, _ in reads}) == sorted(t.key for t in plan.tensors)
        assert len(reads) == times * len(plan.tensors)
