"""`sansio-stream convert` writes the streams in files as captures."""

import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from commands import capture, command
from sansio_stream.capture import CaptureEnd, CaptureHeader, Chunk, parse_capture
from sansio_stream_tools import _convert, _recording_file
from sansio_stream_tools.sources import Source, SourceError, SourceLimits
from test_cli import DIRTY
from wire import HELLO, body

NAME = re.compile(r"\d{8}T\d{6}Z-\d{6}(-[A-Za-z0-9_-]{1,64})?\.capture\.jsonl")


def written(folder: Path) -> list[Path]:
    """Return the captures in a folder, in the order in which they were written."""
    paths = sorted(folder.iterdir())
    assert all(NAME.fullmatch(path.name) for path in paths)
    return paths


def test_a_stream_is_written_as_a_private_capture(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "captures"
    result = command("convert", DIRTY, "-o", str(folder))
    assert (result.exit_code, result.stderr) == (0, "")
    (path,) = written(folder)
    assert result.stdout == f"{DIRTY} -> {path}\n"
    original, copy = parse_capture(Path(DIRTY).read_bytes()), parse_capture(path.read_bytes())
    assert (copy.header, copy.chunks, copy.end) == (original.header, original.chunks, original.end)
    assert original.header.headers["request-id"] in path.name
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_body_without_times_gets_the_time_0_and_a_note(tmp_path: Path) -> None:
    sent = tmp_path / "some answer.sse.txt"
    sent.write_bytes(body(*HELLO))
    result = command("convert", str(sent), str(sent), "-o", str(tmp_path / "out"))
    note = "the file has no times, so all times are 0"
    assert result.stderr == f"sansio-stream: {sent}: {note}\n"
    for path in written(tmp_path / "out"):
        recorded = parse_capture(path.read_bytes())
        assert recorded.body == body(*HELLO)
        assert {chunk.at for chunk in recorded.chunks} == {0.0}
        assert path.name.endswith("-someanswer.capture.jsonl")


def test_no_file_is_overwritten_and_no_link_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        assert command("convert", DIRTY, DIRTY, "-o", str(tmp_path)).exit_code == 0
    assert len(written(tmp_path)) == 4
    victim = tmp_path / "victim"
    link = tmp_path / "link"
    link.symlink_to(victim)
    monkeypatch.setattr(_convert, "new_file", lambda *_: link)
    result = command("convert", DIRTY, "-o", str(tmp_path))
    assert result.exit_code == 2
    assert not victim.exists()


def test_credentials_and_odd_ids_are_left_out(tmp_path: Path) -> None:
    lines = capture((0.5, body(*HELLO))).splitlines(keepends=True)
    headers = {"request-id": "../../etc/passwd\x1b" + "x" * 200, "authorization": "sk-1"}
    head = {"sansio_stream_capture": 1, "status": 200, "headers": headers, "request": {"a": 1}}
    sent = tmp_path / "sent"
    sent.write_bytes(b"".join([json.dumps(head).encode() + b"\n", *lines[1:]]))
    assert command("convert", str(sent), "-o", str(tmp_path / "out")).exit_code == 0
    (path,) = written(tmp_path / "out")
    assert "etcpasswdxx" in path.name
    assert b"sk-1" not in path.read_bytes()


@pytest.mark.parametrize("failure", [SourceError("line 9 is odd"), OSError(5, "I/O error")])
def test_what_was_read_of_a_damaged_file_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def opened(name: str, limits: SourceLimits | None = None, **_: Any) -> Iterator[Source]:
        assert limits == SourceLimits(decoded_bytes=2**20)

        def chunks(*pieces: bytes) -> Iterator[Chunk]:
            for data in pieces:
                yield Chunk(1.0, data)
            raise failure

        yield Source(
            f"{name}#1", "HAR", CaptureHeader(), iter([Chunk(2.0, b"x")]), CaptureEnd(2, None)
        )
        yield Source(f"{name}#2", "HAR", CaptureHeader(), chunks(body(*HELLO[:4])))

    monkeypatch.setattr(_convert, "open_sources", opened)
    limit = ("--limit", "decoded_bytes=1MiB")
    result = command("convert", *limit, "logs/a b.har", "-o", str(tmp_path / "out"))
    assert result.exit_code == 2
    reason = "line 9 is odd" if isinstance(failure, SourceError) else "I/O error"
    assert result.stderr == f"sansio-stream: logs/a b.har: {reason}\n"
    first, second = written(tmp_path / "out")
    assert first.name.endswith("-ab-1.capture.jsonl")
    assert second.name.endswith("-ab-2.capture.jsonl")
    assert parse_capture(first.read_bytes()).end == CaptureEnd(2.0, None)
    kept = parse_capture(second.read_bytes())
    assert (kept.body, kept.end) == (body(*HELLO[:4]), None)
    assert result.stdout.splitlines()[1] == f"logs/a b.har#2 -> {second}"


def test_a_file_that_cannot_be_read_gives_no_capture(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b'{"sansio_stream_capture": "x"}\n{}\n')
    result = command("convert", str(damaged), "missing", DIRTY, "-o", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert "No such file or directory" in result.stderr
    assert len(written(tmp_path / "out")) == 1  # the others are written


def test_times_and_requests_that_a_capture_cannot_hold_are_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(name: str, limits: SourceLimits | None = None, **_: Any) -> Iterator[Source]:
        times = (1.5, float("nan"), 1e308, -1.0, 2.5)
        chunks = (Chunk(at, b"x") for at in times)
        header = CaptureHeader(request={"x": float("nan")})
        yield Source(name, "HAR", header, chunks, CaptureEnd(float("inf"), None))

    monkeypatch.setattr(_convert, "open_sources", opened)
    assert command("convert", "x", "-o", str(tmp_path)).exit_code == 0
    (path,) = written(tmp_path)
    recorded = parse_capture(path.read_bytes())
    assert [chunk.at for chunk in recorded.chunks] == [1.5, 1.5, 1.5, 1.5, 2.5]
    assert recorded.header.request is None


@pytest.mark.parametrize("args", [[DIRTY], ["-o", "out"], ["-o", "out", "--limit", "x=1", DIRTY]])
def test_wrong_usage_has_the_exit_status_2(args: list[str]) -> None:
    result = command("convert", *args)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


def test_a_large_chunk_is_written_in_pieces(tmp_path: Path) -> None:
    sent = tmp_path / "sent"
    data = "data: " + "ä漢" * 50_000 + "\n\n"
    sent.write_bytes(capture((1.5, data.encode())))
    assert command("convert", str(sent), "-o", str(tmp_path / "out")).exit_code == 0
    (path,) = written(tmp_path / "out")
    recorded = parse_capture(path.read_bytes())
    assert recorded.body == data.encode()
    assert {chunk.at for chunk in recorded.chunks} == {1.5}
    assert max(len(chunk.data) for chunk in recorded.chunks) <= 65_536


def test_a_folder_that_cannot_be_made_or_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = command("convert", DIRTY, "-o", str(tmp_path / "file"))
    assert result.exit_code == 2
    assert "File exists" in result.stderr
    if os.getuid():  # the superuser may write everywhere
        (tmp_path / "closed").mkdir(mode=0o500)
        assert command("convert", DIRTY, "-o", str(tmp_path / "closed")).exit_code == 2


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_recording_file.PrivateFile, "_write_all", full)
    result = command("convert", DIRTY, "-o", str(tmp_path))
    assert result.exit_code == 2
    assert "the capture is incomplete: No space left on device" in result.stderr


def test_an_interruption_keeps_what_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(name: str, limits: SourceLimits | None = None, **_: Any) -> Iterator[Source]:
        def chunks() -> Iterator[Chunk]:
            yield Chunk(1.0, body(*HELLO[:4]))
            raise KeyboardInterrupt

        yield Source(name, "capture", CaptureHeader(), chunks())

    monkeypatch.setattr(_convert, "open_sources", opened)
    result = command("convert", "x", "y", "-o", str(tmp_path))
    assert result.exit_code == 130
    assert result.stderr == "sansio-stream: interrupted\n"
    (path,) = written(tmp_path)
    assert parse_capture(path.read_bytes()).body == body(*HELLO[:4])
