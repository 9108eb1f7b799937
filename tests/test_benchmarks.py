"""The benchmarks measure what they say they do."""

import json

import pytest

import bench_pipeline
import synthetic
from sansio_stream import TextBlock, ThinkingBlock, ToolUseBlock, Verdict


def test_the_same_seed_gives_the_same_stream() -> None:
    assert synthetic.stream(700, seed=1) == synthetic.stream(700, seed=1)
    assert synthetic.stream(700, seed=1) != synthetic.stream(700, seed=2)


def test_the_stream_is_in_the_style_of_the_api() -> None:
    frames = synthetic.stream(1_000).frames
    assert frames[0].startswith(b'event: message_start\ndata: {"type":"message_start","message":{')
    assert frames[-1].startswith(b"event: message_stop\n")
    assert any(frame == b'event: ping\ndata: {"type": "ping"}\n\n' for frame in frames)
    blanks = {len(frame) - len(frame[:-3].rstrip()) - 3 for frame in frames}
    assert blanks == set(range(16))
    assert 120 < sum(map(len, frames)) / len(frames) < 160


@pytest.mark.parametrize("size", [1, 64, 1_400, 16_384])
def test_the_pipeline_folds_the_stream_into_what_it_was_made_from(size: int) -> None:
    source = synthetic.stream(1_000)
    body = b"".join(source.frames)
    machine = bench_pipeline.pipeline(synthetic.cut(body, size))
    assert machine.verdict is Verdict.COMPLETE
    assert not machine.violations
    thinking, text, tool, *more = machine.final_message().content
    assert isinstance(thinking, ThinkingBlock)
    assert isinstance(text, TextBlock)
    assert isinstance(tool, ToolUseBlock)
    assert [thinking.thinking, text.text, tool.input_json] == source.texts[:3]
    assert tool.input == json.loads(source.texts[2])
    assert len(more) == len(source.texts) - 3
