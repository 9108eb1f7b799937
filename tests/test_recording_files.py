"""Only its owner can read a recording, and no other file is changed or replaced by accident."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from click.testing import CliRunner

from sansio_stream import parse_capture
from sansio_stream_adapters import MessageStream
from sansio_stream_adapters._recording import Recorder
from sansio_stream_tools import _main
from servers import RawServer, response
from wire import HELLO, body

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes, links and FIFOs need POSIX")

ANSWER = body(*HELLO)
OLDER = b"something older"

Record: TypeAlias = Callable[..., str]


def by_a_stream(path: Path, *, force: bool = False) -> str:
    """Record with `record_to`, and return the error. With `force`, the caller opens the file."""
    try:
        if force:
            with path.open("wb") as file:
                MessageStream([ANSWER], record_to=file).until_done()
        else:
            MessageStream([ANSWER], record_to=path).until_done()
    except OSError as error:
        return str(error)
    return ""


@pytest.fixture(params=["stream", "command"])
def record(request: pytest.FixtureRequest, raw_server: Callable[..., RawServer]) -> Record:
    """Return a function that records an answer at a path and returns the error."""
    if request.param == "stream":
        return by_a_stream
    pytest.importorskip("h11", reason="the adapter for sockets needs h11")
    server = raw_server([response(ANSWER)])

    def by_the_command(path: Path, *, force: bool = False) -> str:
        arguments = ["record", "--adapter", "sockets", "--base-url", server.url, "-m", "m"]
        options = ["-o", str(path), *(["--force"] if force else []), "Hello?"]
        result = CliRunner().invoke(_main.command, [*arguments, *options])
        assert result.exit_code in {0, 2}
        return result.stderr if result.exit_code else ""

    return by_the_command


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_its_owner_can_read_a_recording(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "it"
    before = os.umask(0)
    try:
        assert record(path) == ""
    finally:
        os.umask(before)
    assert mode_of(path) == 0o600
    assert parse_capture(path.read_bytes()).body == ANSWER


def test_an_existing_file_is_only_replaced_with_force(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(OLDER)
    path.chmod(0o644)
    assert "exists" in record(path)
    assert (path.read_bytes(), mode_of(path)) == (OLDER, 0o644)
    assert record(path, force=True) == ""
    assert parse_capture(path.read_bytes()).body == ANSWER


def test_only_its_owner_can_read_a_file_that_the_command_has_replaced(
    raw_server: Callable[..., RawServer], tmp_path: Path
) -> None:
    pytest.importorskip("h11", reason="the adapter for sockets needs h11")
    path = tmp_path / "it"
    path.write_bytes(OLDER)
    path.chmod(0o644)
    url = raw_server([response(ANSWER)]).url
    arguments = ["record", "--adapter", "sockets", "--base-url", url, "-m", "m", "-o", str(path)]
    assert CliRunner().invoke(_main.command, [*arguments, "--force", "Hello?"]).exit_code == 0
    assert mode_of(path) == 0o600


@pytest.mark.parametrize("has_target", [False, True])
def test_no_symbolic_link_is_followed(record: Record, tmp_path: Path, has_target: bool) -> None:
    path, target = tmp_path / "it", tmp_path / "target"
    if has_target:
        target.write_bytes(OLDER)
    path.symlink_to(target)
    assert record(path) != ""
    assert path.is_symlink()
    assert target.exists() is has_target
    assert not has_target or target.read_bytes() == OLDER


@pytest.mark.parametrize("has_reader", [False, True])
def test_a_fifo_is_refused_without_waiting_for_its_reader(
    record: Record, tmp_path: Path, has_reader: bool
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK) if has_reader else None
    try:
        assert record(fifo) != ""
        assert stat.S_ISFIFO(fifo.stat().st_mode)
    finally:
        if reader is not None:
            assert os.read(reader, 1) == b""
            os.close(reader)


def test_with_force_the_command_refuses_a_symbolic_link_and_a_fifo(tmp_path: Path) -> None:
    pytest.importorskip("h11", reason="the adapter for sockets needs h11")
    (tmp_path / "target").write_bytes(OLDER)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "fifo")
    command = ["record", "--adapter", "sockets", "--base-url", "http://127.0.0.1:1", "-m", "m"]
    for name, message in (
        ("link", "a symbolic link is not followed"),
        ("fifo", "not a regular file"),
    ):
        options = ["-o", str(tmp_path / name), "--force", "Hello?"]
        result = CliRunner().invoke(_main.command, [*command, *options])
        assert result.exit_code == 2
        assert message in result.stderr
    assert (tmp_path / "target").read_bytes() == OLDER


def test_a_file_that_appears_after_the_check_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "it"
    recorder = Recorder(path)
    path.write_bytes(OLDER)
    with pytest.warns(RuntimeWarning, match="exists"):
        recorder.begin(200, {})
    assert path.read_bytes() == OLDER
