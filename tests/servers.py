"""Start servers for tests: an ASGI application or a script in, a base URL on the loopback out.

Each server runs in a thread, on a free port. uvicorn or hypercorn serves an application. A script
runs on a plain socket. The libraries are imported when a server is started. If one is missing, the
test is skipped.
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

from sansio_stream import parse_capture
from sansio_stream_adapters import APITimeoutError
from sansio_stream_tools._app import App
from sansio_stream_tools._recordings import Recording, read_recordings
from wire import HELLO, body

EXAMPLES: Final = Path(__file__).parent.parent / "examples"

PATIENCE: Final = 60
"""Seconds until a wait fails. Only a test that hangs waits so long."""


def listening() -> socket.socket:
    """Return a socket that already listens on a free port. No test has to wait for its server."""
    return socket.create_server(("127.0.0.1", 0))


@contextmanager
def refusing_url() -> Iterator[str]:
    """Yield a base URL that refuses connections. Its port is reserved, so no server can get it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{port_of(sock)}"


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def wait_until(is_true: Callable[[], object], what: str) -> None:
    """Return when a condition that another thread changes is true. Fail after `PATIENCE` seconds.

    Args:
        is_true: the condition.
        what: a description of the condition, for the failure.
    """
    patience = time.monotonic() + PATIENCE
    while not is_true():
        assert time.monotonic() < patience, f"still not true after {PATIENCE} s: {what}"
        time.sleep(0.001)


# The result of a test must not depend on the speed of the machine.


class TooSoonError(Exception):
    """A timeout ended before the bytes that the test needs had arrived."""


LONG_ENOUGH: Final = (0.2, 1, 5, 25)
"""The timeouts in seconds that a test tries in order until one is long enough."""


def with_seconds(test: Callable[..., None]) -> Callable[..., None]:
    """Call a test with the `seconds` of a timeout, and again with more if they were too few.

    In such a test the client gets a connection, a head or half a response, and after that nothing
    until the timeout. On a busy machine any timeout may end too early. Then the test raises
    TooSoonError. An APITimeoutError that the test does not expect means the same.
    """

    @wraps(test)
    def repeated(**fixtures: Any) -> None:
        for seconds in LONG_ENOUGH:
            with suppress(TooSoonError, APITimeoutError):
                test(seconds=seconds, **fixtures)
                return
        pytest.fail(f"a timeout of {LONG_ENOUGH[-1]} s is too short")

    signature = inspect.signature(test)
    parameters = [each for name, each in signature.parameters.items() if name != "seconds"]
    repeated.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return repeated


def replace_time(
    monkeypatch: pytest.MonkeyPatch, *modules: ModuleType, **functions: Callable[..., object]
) -> None:
    """Replace functions of `time` in the given modules only.

    The module `time` itself stays unchanged, because all threads share it. An event loop in another
    thread that reads a fake clock may sleep for hours.
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
    """Call `act` once in another thread, while the main thread waits for bytes of a socket.

    The main thread waits or is about to wait: its last call of `recv` has begun.

    Args:
        act: the function to call.
        has_come: true when no more bytes will come, so that the next call of `recv` waits.
        and_then: a second condition. It becomes true while the main thread waits.
    """
    receives, is_over = threading.Event(), threading.Event()

    def announced(receive: Callable[..., bytes]) -> Callable[..., bytes]:
        def announce_and_receive(*args: Any) -> bytes:
            if threading.current_thread() is threading.main_thread() and has_come():
                receives.set()
            return receive(*args)

        return announce_and_receive

    def wait_and_act() -> None:
        wait_until(
            lambda: is_over.is_set() or (receives.is_set() and and_then()), "the main thread waits"
        )
        if not is_over.is_set():
            act()

    acting = threading.Thread(target=wait_and_act)
    with ExitStack() as stack:
        for kind in (socket.socket, ssl.SSLSocket):
            stack.enter_context(mock.patch.object(kind, "recv", announced(kind.recv)))
        acting.start()
        try:
            yield
        finally:
            is_over.set()
            acting.join()


@contextmanager
def signalling(act: Callable[[], object]) -> Iterator[Callable[[], None]]:
    """Yield a function that sends a signal to the main thread until its handler has called `act`.

    The handler calls `act` once. One signal may not be enough: it may arrive just before the system
    call that it is to interrupt.
    """
    if not hasattr(signal, "pthread_kill"):
        pytest.skip("only POSIX can send a signal to a thread")
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
    """Return when another process sleeps in a system call. Return at once if there is no /proc.

    A signal that arrives earlier may have no effect: the system call that it is to interrupt begins
    after it.
    """
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        wait_until(lambda: b") S " in stat.read_bytes(), "the process sleeps")


# ASGI applications.


def app_of_examples(**options: Any) -> App:
    """Make an application that replays the examples and `SHORT` without delays.

    The header `x-fault` of a request selects a fault.
    """
    return App([*example_recordings(), SHORT], **{"speed": math.inf, **options})


SHORT: Final = Recording.of("short", parse_capture(body(*HELLO)))
"""A recording of 968 bytes. The fault `drip` sends each byte by itself; the example `text` has nine
times as many."""


def example_recordings() -> list[Recording]:
    """Return the recordings of all examples."""
    return [recording_in(path) for path in sorted(EXAMPLES.glob("*.capture.jsonl"))]


def recording_in(path: Path) -> Recording:
    """Return the only recording in a file."""
    (recording,) = read_recordings(path)
    return recording


@contextmanager
def http_server(app: Any) -> Iterator[str]:
    """Run an application with uvicorn, HTTP/1.1 without TLS. Yield its base URL."""
    pytest.importorskip("uvicorn", reason="this test needs uvicorn as the server")
    from sansio_stream_tools._uvicorn import server_of

    server = server_of(app)
    server.config.timeout_keep_alive = PATIENCE
    sock = listening()
    url = f"http://127.0.0.1:{port_of(sock)}"
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), "uvicorn starts")
        yield url
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        state = server.server_state
        left = [*state.connections, *(task.get_stack() for task in state.tasks)]
        server.force_exit = True
        # From Python 3.12.1 on, uvicorn waits until the clients have closed all connections.
        thread.join(PATIENCE)
    assert left == []
    assert not thread.is_alive()


Main: TypeAlias = Callable[[Callable[[], object], asyncio.Event], Coroutine[Any, Any, None]]


@contextmanager
def running(main: Main) -> Iterator[None]:
    """Run a coroutine function in an event loop of another thread.

    Args:
        main: takes a function to call when it has started, and an event that is set when the
            block is left.
    """
    started = threading.Event()
    stopping: list[Callable[[], object]] = []

    async def run() -> None:
        stop = asyncio.Event()
        stopping.append(partial(asyncio.get_running_loop().call_soon_threadsafe, stop.set))
        await main(started.set, stop)

    thread = threading.Thread(target=asyncio.run, args=[run()], daemon=True)
    thread.start()
    try:
        assert started.wait(PATIENCE)
        yield
    finally:
        stopping[0]()
        thread.join(PATIENCE)
    assert not thread.is_alive()


@attrs.frozen
class TLS:
    """A certificate for 127.0.0.1, with a context for the server and one for the client."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    ca_file: Path
    certificate: Path


def make_tls(folder: Path) -> TLS:
    """Make a certificate authority and a certificate that it has signed."""
    trustme = pytest.importorskip("trustme", reason="this test needs certificates from trustme")
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
    """Run an application with hypercorn over TLS. Yield its base URL.

    The client chooses HTTP/2 or HTTP/1.1. If the application leaves a response unfinished, the
    server sends RST_STREAM.
    """
    pytest.importorskip("hypercorn", reason="this test needs hypercorn as the HTTP/2 server")
    from hypercorn.asyncio import serve
    from hypercorn.config import Config
    from hypercorn.protocol.h2 import H2Protocol

    close_stream = H2Protocol._close_stream

    async def reset_stream(self: Any, stream_id: int) -> None:
        # Without this, hypercorn never ends an unfinished HTTP/2 stream.
        buffer = self.stream_buffers.get(stream_id)
        if buffer is not None and not buffer._complete and not self.closed:
            await buffer.drain()
            with suppress(Exception):  # the client may have ended the stream first
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
    """Answer every POST with `body`, in pieces, with aiohttp's server. Yield its base URL."""
    web = pytest.importorskip("aiohttp.web", reason="this test needs aiohttp as the server")

    async def answer(request: Any) -> Any:
        await request.read()
        stream = web.StreamResponse(headers={"content-type": "text/event-stream"})
        stream.enable_compression()  # it compresses only if the client accepts that
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


# Scripts on plain sockets.


class Do(Enum):
    """An action of a script other than sending bytes."""

    CLOSE = "close the connection; with TLS, send close_notify first"
    DROP = "close the connection; with TLS, without close_notify"
    RESET = "reset the connection"
    HALF_CLOSE = "close the sending side only"
    WAIT = "wait until the client closes the connection"


@attrs.frozen
class Sleep:
    """Wait some seconds. The client then usually receives the next piece separately.

    No test may rely on that.
    """

    seconds: float


Step: TypeAlias = bytes | Do | Sleep | threading.Event | threading.Barrier
"""Bytes to send, another action, an event to wait for, or a barrier to wait at."""

Script: TypeAlias = Sequence[Step]


def head(
    status: int = 200, headers: Mapping[str, str] | None = None, *, reason: str = "Whatever"
) -> bytes:
    """Return the head of a response. By default it is a stream in chunked encoding."""
    if headers is None:
        headers = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {each}" for name, each in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def chunk(data: bytes) -> bytes:
    """Return a chunk of the chunked encoding. `chunk(b"")` is the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def response(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """Return a whole response with a content-length. By default it is a stream."""
    if headers is None:
        headers = {"content-type": "text/event-stream"}
    return head(status, {**headers, "content-length": str(len(body))}) + body


@attrs.frozen
class Received:
    """A request as it arrived, and the number of its connection, counted from 1."""

    head: bytes
    body: bytes
    connection: int

    @property
    def line(self) -> str:
        """The first line, such as `POST /v1/messages HTTP/1.1`."""
        return self.head.split(b"\r\n", 1)[0].decode()

    @property
    def headers(self) -> dict[str, str]:
        """The headers, with names in lower case."""
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines if line)
        return {name.lower(): value.strip() for name, _, value in pairs}

    @property
    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)


class RawServer(socketserver.ThreadingTCPServer):
    """A server that runs scripts on plain sockets. Use it in a `with` block.

    The first script answers the first request, the second script the second request, and so on.
    The last script answers all further requests. If a script does not close the connection, the
    server reads the next request from it.

    At the end of the block the server closes all open connections. Then it raises the first
    exception of its threads. It raises TimeoutError if a client sent no bytes for `PATIENCE`
    seconds. It raises another exception if a script has waited so long for an event or a barrier.
    """

    request_queue_size = 128  # with the default of 5, twenty clients at once take a second longer

    def __init__(self, *scripts: Script, tls: TLS | None = None) -> None:
        super().__init__(("127.0.0.1", 0), socketserver.BaseRequestHandler)
        self.port = port_of(self.socket)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self.requests: list[Received] = []
        self.connections = 0
        """The number of accepted connections."""
        self.closed_by_client = 0
        """The number of connections that the client has closed."""
        self._scripts = scripts
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._failures: list[BaseException] = []
        self._thread = threading.Thread(target=self.serve_forever, args=[0.01])

    @property
    def open_connections(self) -> int:
        """The number of open connections."""
        return len(self._open)

    def wait_until_closed(self, connections: int = 1) -> None:
        """Return when at least so many connections were accepted and all are closed."""
        wait_until(
            lambda: self.connections >= connections and not self._open, "connections are closed"
        )

    @property
    def threads(self) -> int:
        """The number of live threads. Each open connection has one."""
        threads: Any = self._threads  # type: ignore[attr-defined]  # an attribute of ThreadingMixIn
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
        except OSError:  # the client reset the connection or did not trust the certificate
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
        wait_until(lambda: event.is_set() or self._stopping.is_set(), "the event of a script")


def close(sock: socket.socket, how: Do) -> None:
    if how is Do.RESET:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    elif how is Do.CLOSE and isinstance(sock, ssl.SSLSocket):
        sock.setblocking(False)
        with suppress(OSError):  # `unwrap` also expects a close_notify of the client
            sock.unwrap()
    sock.close()


def read_request(sock: socket.socket, number: int) -> Received | None:
    """Read a request. Return None if the client closes the connection before its end."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(65536)
        if not piece:
            return None
        data += piece
    before, _, body = data.partition(b"\r\n\r\n")
    received = Received(before, body, number)
    pieces = [body]
    missing = int(received.headers.get("content-length", "0")) - len(body)
    while missing > 0:
        piece = sock.recv(min(missing, 2**18))
        if not piece:
            return None
        pieces.append(piece)
        missing -= len(piece)
    return attrs.evolve(received, body=b"".join(pieces))


# Fixtures. `conftest` makes them available to all tests.


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TLS:
    """A certificate authority and a certificate, made once per run."""
    return make_tls(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def example_server() -> Iterator[str]:
    """The base URL of an HTTP/1.1 server that replays the examples; see `app_of_examples`."""
    with http_server(app_of_examples()) as url:
        yield url


@pytest.fixture(scope="session")
def http2_example_server(tls: TLS) -> Iterator[str]:
    """The base URL of an HTTP/2 server over TLS that replays the examples."""
    with http2_server(app_of_examples(), tls) as url:
        yield url


@pytest.fixture
def raw_server() -> Iterator[Callable[..., RawServer]]:
    """A function that starts a RawServer. The server stops at the end of the test."""
    with ExitStack() as stack:
        yield lambda *scripts, tls=None: stack.enter_context(RawServer(*scripts, tls=tls))
