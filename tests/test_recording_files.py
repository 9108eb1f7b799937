"""A recording is its owner's alone: no other file is written to or replaced in its place."""

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
from sansio_stream_adapters.cli import _command
from servers import RawServer, response
from wire import HELLO, body

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes, links and FIFOs are of POSIX")

ANSWER = body(*HELLO)
OLDER = b"something older"

Record: TypeAlias = Callable[..., str]


def by_a_stream(path: Path, *, force: bool = False) -> str:
    """Record by `record_to`; told to replace a file, who calls opens it. The value is an error."""
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
    """Record an answer at a path; the value says what was wrong with it."""
    if request.param == "stream":
        return by_a_stream
    pytest.importorskip("h11", reason="the adapter for sockets stands on h11")
    server = raw_server([response(ANSWER)])

    def by_the_command(path: Path, *, force: bool = False) -> str:
        arguments = ["record", "--adapter", "sockets", "--base-url", server.url, "-m", "m"]
        options = ["-o", str(path), *(["--force"] if force else []), "Hello?"]
        result = CliRunner().invoke(_command.command, [*arguments, *options])
        assert result.exit_code in {0, 2}
        return result.stderr if result.exit_code else ""

    return by_the_command


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_recording_can_be_read_by_its_owner_alone(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "it"
    before = os.umask(0)
    try:
        assert record(path) == ""
    finally:
        os.umask(before)
    assert mode_of(path) == 0o600
    assert parse_capture(path.read_bytes()).body == ANSWER


def test_a_file_that_is_not_empty_is_replaced_only_if_told(record: Record, tmp_path: Path) -> None:
    path = tmp_path / "it"
    path.write_bytes(OLDER)
    path.chmod(0o644)
    assert "exists" in record(path)
    assert (path.read_bytes(), mode_of(path)) == (OLDER, 0o644)
    assert record(path, force=True) == ""
    assert parse_capture(path.read_bytes()).body == ANSWER


def test_an_older_file_that_the_command_replaces_is_its_owners_alone_too(
    raw_server: Callable[..., RawServer], tmp_path: Path
) -> None:
    pytest.importorskip("h11", reason="the adapter for sockets stands on h11")
    path = tmp_path / "it"
    path.write_bytes(OLDER)
    path.chmod(0o644)
    url = raw_server([response(ANSWER)]).url
    arguments = ["record", "--adapter", "sockets", "--base-url", url, "-m", "m", "-o", str(path)]
    assert CliRunner().invoke(_command.command, [*arguments, "--force", "Hello?"]).exit_code == 0
    assert mode_of(path) == 0o600


@pytest.mark.parametrize("is_there", [False, True])
def test_no_symbolic_link_is_followed(record: Record, tmp_path: Path, is_there: bool) -> None:
    path, target = tmp_path / "it", tmp_path / "target"
    if is_there:
        target.write_bytes(OLDER)
    path.symlink_to(target)
    assert record(path) != ""
    assert path.is_symlink()
    assert target.exists() is is_there
    assert not is_there or target.read_bytes() == OLDER


@pytest.mark.parametrize("has_reader", [False, True])
def test_what_is_no_regular_file_is_refused_and_not_waited_for(
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


def test_told_to_replace_it_the_command_follows_no_link_and_waits_for_no_fifo(
    tmp_path: Path,
) -> None:
    pytest.importorskip("h11", reason="the adapter for sockets stands on h11")
    (tmp_path / "target").write_bytes(OLDER)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    os.mkfifo(tmp_path / "fifo")
    asked = ["record", "--adapter", "sockets", "--base-url", "http://127.0.0.1:1", "-m", "m"]
    for name, said in (("link", "a symbolic link is not followed"), ("fifo", "not a regular file")):
        options = ["-o", str(tmp_path / name), "--force", "Hello?"]
        result = CliRunner().invoke(_command.command, [*asked, *options])
        assert result.exit_code == 2
        assert said in result.stderr
    assert (tmp_path / "target").read_bytes() == OLDER


def test_what_was_put_there_meanwhile_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "it"
    recorder = Recorder(path)
    path.write_bytes(OLDER)
    with pytest.warns(RuntimeWarning, match="exists"):
        recorder.begin(200, {})
    assert path.read_bytes() == OLDER
