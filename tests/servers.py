"""Servers for tests: an ASGI application or a script in, a base URL on the loopback out.

Each runs in a thread, on a free port: an application behind uvicorn or hypercorn, a script on a
bare socket. What they need is imported when they are started, or the test is skipped.
"""

import asyncio
import inspect
import json
import math
import signal
import socket
import socketserver
import ssl
import struct
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from enum import Enum
from functools import partial, wraps
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final, Self, TypeAlias
from unittest import mock

import attrs
import pytest

from sansio_stream_adapters import APITimeoutError
from sansio_stream_adapters.cli._serve import App, Recording

EXAMPLES: Final = Path(__file__).parent.parent / "examples"

PATIENCE: Final = 60
"""Seconds after which a wait is given up: only a hanging test lasts so long."""


def listening() -> socket.socket:
    """A socket that listens on a free port, so that nobody has to wait for its server."""
    return socket.create_server(("127.0.0.1", 0))


@contextmanager
def nobody_listens() -> Iterator[str]:
    """A base URL that refuses connections: its port is taken, so that no other server gets it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{port_of(sock)}"


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def wait_until(is_true: Callable[[], object], what: str) -> None:
    """Return when something has become true in another thread."""
    patience = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < patience, f"{what}: not within {PATIENCE} s"
        time.sleep(0.001)


# No test depends on how fast the machine is.


class TooSoonError(Exception):
    """A timeout was over before that had come which it was not to be about."""


LONG_ENOUGH: Final = (0.2, 1, 5, 25)
"""Seconds for a timeout of a test, one after the other, until one is long enough."""


def with_seconds(test: Callable[..., None]) -> Callable[..., None]:
    """Give a test the `seconds` of a timeout, and more of them as long as they were too few.

    A test of a timeout needs something to come before the silence: a connection, a head, half an
    answer. On a busy machine any timeout may be over by then. The test raises TooSoonError where
    it sees that, and an APITimeoutError that it does not expect says the same.
    """

    @wraps(test)
    def repeated(**fixtures: Any) -> None:
        for seconds in LONG_ENOUGH:
            with suppress(TooSoonError, APITimeoutError):
                test(seconds=seconds, **fixtures)
                return
        pytest.fail(f"a timeout of {LONG_ENOUGH[-1]} s is over too soon")

    signature = inspect.signature(test)
    parameters = [each for name, each in signature.parameters.items() if name != "seconds"]
    repeated.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return repeated


def replace_time(
    monkeypatch: pytest.MonkeyPatch, *modules: ModuleType, **functions: Callable[..., object]
) -> None:
    """Give modules of ours other functions of `time`, and them alone.

    The module `time` itself is everybody's: a loop of another thread that looks at a clock of ours
    in between may then sleep for hours.
    """
    replaced = SimpleNamespace(**{**vars(time), **functions})
    for module in modules:
        monkeypatch.setattr(module, "time", replaced)


@contextmanager
def while_main_receives(
    act: Callable[[], object],
    *,
    has_come: Callable[[], object] = lambda: True,
    and_then: Callable[[], object] = lambda: True,
) -> Iterator[None]:
    """Do something, in another thread, while the main thread waits for a socket's next bytes.

    It waits, or is just about to: its last call of `recv` has begun.

    Args:
        act: what is to be done, once.
        has_come: whether nothing more will come, so that the next call of `recv` waits.
        and_then: becomes true while it waits.
    """
    receives, is_over = threading.Event(), threading.Event()

    def told(receive: Callable[..., bytes]) -> Callable[..., bytes]:
        def receive_and_tell(*args: Any) -> bytes:
            if threading.current_thread() is threading.main_thread() and has_come():
                receives.set()
            return receive(*args)

        return receive_and_tell

    def wait_and_act() -> None:
        wait_until(
            lambda: is_over.is_set() or (receives.is_set() and and_then()), "the main thread waits"
        )
        if not is_over.is_set():
            act()

    acting = threading.Thread(target=wait_and_act)
    with ExitStack() as stack:
        for kind in (socket.socket, ssl.SSLSocket):
            stack.enter_context(mock.patch.object(kind, "recv", told(kind.recv)))
        acting.start()
        try:
            yield
        finally:
            is_over.set()
            acting.join()


@contextmanager
def signalling(act: Callable[[], object]) -> Iterator[Callable[[], None]]:
    """Have a signal do something in the main thread, once; the value sends it until that is done.

    One signal is not enough: the system's call that it is to interrupt may begin behind it.
    """
    if not hasattr(signal, "pthread_kill"):
        pytest.skip("signals for a thread are those of POSIX")
    is_done = threading.Event()

    def handle(*_: object) -> None:
        if not is_done.is_set():
            is_done.set()
            act()

    def send() -> None:
        while not is_done.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            is_done.wait(0.01)

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        yield send
    finally:
        is_done.set()
        signal.signal(signal.SIGUSR1, before)


def interrupt() -> None:
    """Do what Ctrl-C does."""
    raise KeyboardInterrupt


def wait_until_it_waits(pid: int) -> None:
    """Return when another process waits for what comes from outside, where the system tells.

    A signal that comes before may be lost: the system's call that it is to interrupt begins behind
    it.
    """
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        wait_until(lambda: b") S " in stat.read_bytes(), "the process waits")


# ASGI applications.


def app_of_examples(**options: Any) -> App:
    """Replays the examples, without waiting; a request may ask for a fault by `x-fault`."""
    paths = sorted(EXAMPLES.glob("*.capture.jsonl"))
    return App([Recording.read(path) for path in paths], **{"speed": math.inf, **options})


@contextmanager
def http_server(app: Any) -> Iterator[str]:
    """Run an application by uvicorn, HTTP/1.1 without TLS; the value is its base URL."""
    pytest.importorskip("uvicorn", reason="uvicorn serves what is read here")
    from sansio_stream_adapters.cli._uvicorn import server_of

    server = server_of(app)
    server.config.timeout_keep_alive = PATIENCE
    sock = listening()
    url = f"http://127.0.0.1:{port_of(sock)}"
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), "uvicorn has started")
        yield url
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        state = server.server_state
        left = [*state.connections, *(task.get_stack() for task in state.tasks)]
        server.force_exit = True
        thread.join()
    assert left == []


Main: TypeAlias = Callable[[Callable[[], object], asyncio.Event], Coroutine[Any, Any, None]]


@contextmanager
def running(main: Main) -> Iterator[None]:
    """Run a coroutine in a loop of another thread. It is given what to call when it has started,
    and an event that is set when the block is left.
    """
    started = threading.Event()
    stopping: list[Callable[[], object]] = []

    async def run() -> None:
        stop = asyncio.Event()
        stopping.append(partial(asyncio.get_running_loop().call_soon_threadsafe, stop.set))
        await main(started.set, stop)

    thread = threading.Thread(target=asyncio.run, args=[run()])
    thread.start()
    try:
        assert started.wait(PATIENCE)
        yield
    finally:
        stopping[0]()
        thread.join()


@attrs.frozen
class TLS:
    """A certificate for 127.0.0.1, and those who trust it."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    ca_file: Path
    certificate: Path


def make_tls(folder: Path) -> TLS:
    """Make an authority of one's own, and what it has signed."""
    trustme = pytest.importorskip("trustme", reason="trustme makes the certificates")
    authority = trustme.CA()
    signed = authority.issue_cert("127.0.0.1", "localhost")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    signed.configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    ca_file, certificate = folder / "ca.pem", folder / "certificate.pem"
    authority.cert_pem.write_to_path(ca_file)
    signed.private_key_and_cert_chain_pem.write_to_path(certificate)
    return TLS(server, client, ca_file, certificate)


@contextmanager
def http2_server(app: Any, tls: TLS) -> Iterator[str]:
    """Run an application by hypercorn, HTTP/2 (or 1.1, as the client likes) over TLS.

    The value is the base URL. A response that the application leaves unfinished is reset, by
    RST_STREAM.
    """
    pytest.importorskip("hypercorn", reason="hypercorn serves HTTP/2")
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from hypercorn.protocol.h2 import H2Protocol

    close_stream = H2Protocol._close_stream

    async def reset_stream(self: Any, stream_id: int) -> None:
        # hypercorn leaves such a stream open for ever.
        buffer = self.stream_buffers.get(stream_id)
        if buffer is not None and not buffer._complete and not self.closed:
            await buffer.drain()
            with suppress(Exception):  # the client was faster
                self.connection.reset_stream(stream_id)
                await self._flush()
        await close_stream(self, stream_id)

    sock = listening()
    url = f"https://127.0.0.1:{port_of(sock)}"
    config = Config()
    config.bind = [f"fd://{sock.detach()}"]
    config.certfile = config.keyfile = str(tls.certificate)
    config.errorlog = None
    config.graceful_timeout = 0.1

    async def main(started: Callable[[], object], stop: asyncio.Event) -> None:
        started()
        await serve(app, config, shutdown_trigger=stop.wait)

    with mock.patch.object(H2Protocol, "_close_stream", reset_stream), running(main):
        yield url


@contextmanager
def aiohttp_server(body: bytes) -> Iterator[str]:
    """Answer every POST with a body, in pieces, by aiohttp's own server; the value is its URL."""
    web = pytest.importorskip("aiohttp.web", reason="aiohttp serves what is read here")

    async def answer(request: Any) -> Any:
        await request.read()
        stream = web.StreamResponse(headers={"content-type": "text/event-stream"})
        stream.enable_compression()  # if the client asks for it
        await stream.prepare(request)
        for at in range(0, len(body), 1000):
            await stream.write(body[at : at + 1000])
        return stream

    sock = listening()
    url = f"http://127.0.0.1:{port_of(sock)}"

    async def main(started: Callable[[], object], stop: asyncio.Event) -> None:
        app = web.Application()
        app.router.add_post("/{path:.*}", answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.SockSite(runner, sock).start()
        started()
        await stop.wait()
        await runner.cleanup()

    with running(main):
        yield url


# Scripts on bare sockets.


class Do(Enum):
    """What a script does beside sending bytes."""

    CLOSE = "close the connection, with TLS as it should be"
    DROP = "close the connection, with TLS without saying so"
    RESET = "reset the connection"
    HALF_CLOSE = "end the sending side, and go on receiving"
    WAIT = "do nothing until the client has gone"


@attrs.frozen
class Sleep:
    """Do nothing for some seconds or more, so that pieces mostly come apart; no test needs it."""

    seconds: float


Step: TypeAlias = bytes | Do | Sleep | threading.Event | threading.Barrier
"""Bytes to send, what else to do, or what to wait for: until somebody sets it, or all are there."""

Script: TypeAlias = Sequence[Step]


def head(
    status: int = 200, headers: Mapping[str, str] | None = None, *, reason: str = "Whatever"
) -> bytes:
    """A head of a response; that of a stream in chunks, unless `headers` says otherwise."""
    if headers is None:
        headers = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {each}" for name, each in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    """A chunk of the chunked encoding; `chunk(b"")` is its end."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def response(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """A whole response with a content-length; a stream, unless `headers` says otherwise."""
    if headers is None:
        headers = {"content-type": "text/event-stream"}
    return head(status, {**headers, "content-length": str(len(body))}) + body


@attrs.frozen
class Received:
    """A request as it came, and the number of its connection, from 1."""

    head: bytes
    body: bytes
    connection: int

    @property
    def line(self) -> str:
        """The first line: `POST /v1/messages HTTP/1.1`."""
        return self.head.split(b"\r\n", 1)[0].decode()

    @property
    def headers(self) -> dict[str, str]:
        """The headers, their names in lower case."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines if line)
        return {name.lower(): value.strip() for name, _, value in pairs}

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


class RawServer(socketserver.ThreadingTCPServer):
    """Answers the first request by the first script, ..., and all that follow by the last one.

    Where a script does not close the connection, its next request is read. To be used by `with`;
    on leaving, whatever is still open is closed, and what went wrong in a thread is raised: that
    a client, or what a script waits for, has let it wait for too long, too.
    """

    request_queue_size = 128  # with the default of 5, twenty clients at once lose a second

    def __init__(self, *scripts: Script, tls: TLS | None = None) -> None:
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self.port = port_of(self.socket)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.requests: list[Received] = []
        self.connections = 0
        """How many there were."""
        self.closed_by_client = 0
        """How many of them the client has ended."""
        self._scripts = scripts
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self.serve_forever, args=[0.01])

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        return len(self._open)

    def wait_until_closed(self, connections: int = 1) -> None:
        """Return when so many connections have come and all are closed; fails if they aren't."""
        wait_until(
            lambda: self.connections >= connections and not self._open, "connections are closed"
        )

    @property
    def threads(self) -> int:
        """How many threads there are, one for each connection; nothing is held of ended ones."""
        threads: Any = self._threads  # type: ignore[attr-defined]  # that of `ThreadingMixIn`
        threads.reap()
        return len(threads)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self.shutdown()
        self._thread.join()
        with self._lock:
            for sock in self._open:
                with suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        self.server_close()
        for failure in self._failures:
            raise failure

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        error = sys.exception()
        assert error is not None
        self._failures.append(error)

    def finish_request(self, request: Any, client_address: object) -> None:  # noqa: ARG002
        sock: socket.socket = request
        sock.settimeout(PATIENCE)
        with self._lock:
            self.connections += 1
            number = self.connections
            self._open.add(sock)
        try:
            if self._tls is not None:
                sock = self._tls.server.wrap_socket(sock, server_side=True)
                with self._lock:
                    self._open.remove(request)
                    self._open.add(sock)
            if not self._stopping.is_set():
                self._converse(sock, number)
        except TimeoutError:
            raise
        except OSError:  # reset, or not trusted
            self._count_client()
        finally:
            sock.close()
            with self._lock:
                self._open -= {request, sock}

    def _count_client(self) -> None:
        if not self._stopping.is_set():
            with self._lock:
                self.closed_by_client += 1

    def _converse(self, sock: socket.socket, number: int) -> None:
        while (received := read_request(sock, number)) is not None:
            with self._lock:
                script = self._scripts[min(len(self.requests), len(self._scripts) - 1)]
                self.requests.append(received)
            for step in script:
                match step:
                    case bytes():
                        sock.sendall(step)
                    case Sleep(seconds):
                        self._stopping.wait(seconds)
                    case threading.Event():
                        self._wait_for(step)
                    case threading.Barrier():
                        step.wait(PATIENCE)
                    case Do.HALF_CLOSE:
                        sock.shutdown(socket.SHUT_WR)
                    case Do.WAIT:
                        while sock.recv(65536):
                            pass
                        self._count_client()
                        return
                    case Do.CLOSE | Do.DROP | Do.RESET:
                        close(sock, step)
                        return
        self._count_client()

    def _wait_for(self, event: threading.Event) -> None:
        wait_until(lambda: event.is_set() or self._stopping.is_set(), "a script goes on")


def close(sock: socket.socket, how: Do) -> None:
    if how is Do.RESET:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif how is Do.CLOSE and isinstance(sock, ssl.SSLSocket):
        sock.setblocking(False)
        with suppress(OSError):  # it wants to hear the client say so too
            sock.unwrap()
    sock.close()


def read_request(sock: socket.socket, number: int) -> Received | None:
    """Read a head and as much as its content-length says; None where the client has ended."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            return None
        data += piece
    before, _, body = data.partition(b"\r\n\r\n")
    received = Received(before, body, number)
    missing = int(received.headers.get("content-length", "0")) - len(body)
    while missing > 0:
        piece = sock.recv(missing)
        if not piece:
            return None
        body += piece
        missing -= len(piece)
    return attrs.evolve(received, body=body)


# Fixtures; `conftest` has them for all tests.


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TLS:
    """Certificates."""
    return make_tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def example_server() -> Iterator[str]:
    """The base URL of a server that replays the examples, by HTTP/1.1; see `app_of_examples`."""
    with http_server(app_of_examples()) as url:
        yield url


@pytest.fixture(scope="session")
def http2_example_server(tls: TLS) -> Iterator[str]:
    """The same by HTTP/2 over TLS."""
    with http2_server(app_of_examples(), tls) as url:
        yield url


@pytest.fixture
def raw_server() -> Iterator[Callable[..., RawServer]]:
    """Start a RawServer, which is stopped when the test is over."""
    with ExitStack() as stack:
        yield lambda *scripts, tls=None: stack.enter_context(RawServer(*scripts, tls=tls))
