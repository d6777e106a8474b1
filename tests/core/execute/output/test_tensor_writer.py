"""What reaches the sink where the base's tensor is joined from unlike parts."""

import torch

from orthomerge_core.execute.output.sinks import StateDictSink
from orthomerge_core.execute.output.tensor_writer import Emitter
from orthomerge_core.execute.plan.model import TensorPlan
from orthomerge_core.execute.plan.storage import Stored
from orthomerge_core.keys.aligned import AlignedModel, Segment
from tests.fakes import MemorySource


def test_a_join_of_two_dtypes_is_stored_in_the_one_that_was_announced():
    q, k = torch.randn(4).half(), torch.randn(4).bfloat16()
    segments = {"qk": (Segment("q", 0, 4), Segment("k", 0, 4))}
    base = AlignedModel("base", MemorySource("b", {"q": q, "k": k}), segments, report=None)
    sink = StateDictSink()
    sink.begin({"qk": ("F16", (8,))}, {})
    plan = TensorPlan("qk", "qk", (8,), 8, (), Stored("F16"))
    emitter = Emitter(sink, base)
    emitter.copy_base(plan, lambda: None)
    sink.finish({})
    assert torch.equal(sink.state_dict["qk"], torch.cat([q, k.half()]))
    assert emitter.hashes["qk"][0] == "F16"
