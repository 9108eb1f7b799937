"""Test that a forked child can make its own client while the parent's streams go on."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Final

import pytest

from servers import PATIENCE, RawServer, chunk, head, response, wait_until
from wire import HELLO, body

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="only POSIX forks")

StartServer = Callable[..., RawServer]

TEXT: Final = "Hello, wörld \N{PARTY POPPER}"

SYNC: Final = """
import importlib, os, sys
name, url = sys.argv[1:]
Client = importlib.import_module(f"sansio_stream_adapters.{name}").Client
REQUEST = {"model": "m", "max_tokens": 9, "messages": []}

def text_of(client):
    return client.messages.stream(**REQUEST).get_final_message().content[0].text

client = Client(base_url=url, api_key="k", max_retries=0)
with client.messages.stream(**REQUEST) as stream:
    next(stream.text_stream)
    child = os.fork()
    if child == 0:  # the child ends like any process and runs all finalizers
        sys.exit(text_of(Client(base_url=url, api_key="k", max_retries=0)) != TEXT)
    assert os.waitpid(child, 0)[1] == 0
    assert stream.get_final_text() == TEXT
assert text_of(client) == TEXT
"""

ASYNC: Final = """
import asyncio, importlib, os, sys
name, url = sys.argv[1:]
AsyncClient = importlib.import_module(f"sansio_stream_adapters.{name}").AsyncClient
REQUEST = {"model": "m", "max_tokens": 9, "messages": []}

async def text_of():
    async with AsyncClient(base_url=url, api_key="k", max_retries=0) as client:
        return (await client.messages.stream(**REQUEST).get_final_message()).content[0].text

def run():
    if name == "trio":
        return importlib.import_module("trio").run(text_of)
    return asyncio.run(text_of())

assert run() == TEXT
child = os.fork()
if child == 0:
    sys.exit(run() != TEXT)
assert os.waitpid(child, 0)[1] == 0
assert run() == TEXT
"""


def started(script: str, name: str, url: str) -> "subprocess.Popen[bytes]":
    """Start a process that runs a script with an adapter."""
    code = f"TEXT = {TEXT!r}\n{script}"
    # Python warns if a process with threads forks, and a library may have idle threads.
    python = [sys.executable, "-W", "ignore::DeprecationWarning"]
    return subprocess.Popen([*python, "-c", code, name, url], stderr=subprocess.PIPE)


def outcome(process: "subprocess.Popen[bytes]") -> tuple[int, str]:
    """Wait for the end of a process. Return its exit status and what it wrote to stderr."""
    _, errors = process.communicate(timeout=PATIENCE)
    return process.returncode, errors.decode()


@pytest.mark.parametrize(("name", "library"), [("httpx", "httpx"), ("sockets", "h11")])
def test_a_child_can_make_its_own_client_and_the_parent_s_stream_goes_on(
    raw_server: StartServer, name: str, library: str
) -> None:
    pytest.importorskip(library, reason=f"{name} needs {library}")
    child_has_asked = threading.Event()
    half, rest = chunk(body(*HELLO[:4])), chunk(body(*HELLO[4:])) + chunk(b"")
    whole = [response(body(*HELLO))]
    server = raw_server([head() + half, child_has_asked, rest], whole, whole)
    process = started(SYNC, name, server.url)
    wait_until(
        lambda: len(server.requests) == 2 or process.poll() is not None, "the request of the child"
    )
    child_has_asked.set()
    assert outcome(process) == (0, "")
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("name", "library"), [("httpx", "httpx"), ("aiohttp", "aiohttp"), ("trio", "trio")]
)
def test_a_child_can_make_its_own_asynchronous_client(
    raw_server: StartServer, name: str, library: str
) -> None:
    pytest.importorskip(library, reason=f"{name} needs {library}")
    server = raw_server([response(body(*HELLO))])
    assert outcome(started(ASYNC, name, server.url)) == (0, "")
    assert len(server.requests) == 3
