"""Write the captures in this folder: invented streams in the real wire format.

    python examples/make_examples.py

All texts are invented. Every random number comes from a generator that is seeded with the name of
the capture, so each run writes the same files.
"""

import json
import re
from base64 import b64encode
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from random import Random
from string import ascii_letters, digits
from typing import Any

from sansio_stream.capture import CaptureHeader, CaptureWriter

HERE = Path(__file__).parent


class Server:
    """Writes frames as the Anthropic API does, each with the pause before it.

    Args:
        name: the name of the capture, which seeds the random numbers.
        request: members of the request's body. They override the defaults.

    Attributes:
        frames: the frames so far, each as a pause in seconds and the bytes.
    """

    def __init__(self, name: str, request: dict[str, Any]) -> None:
        self.random = Random(name)  # noqa: S311 - each run must write the same files
        self.request = {"model": "claude-sonnet-5", "max_tokens": 4096, **request, "stream": True}
        self.request_id = self.make_id("req_011C")
        self.message_id = self.make_id("msg_01")
        self.frames: list[tuple[float, bytes]] = []
        self.index = -1
        # A token has about four characters. With tools, the API adds a prompt of 346 tokens.
        self.input_tokens = len(json.dumps(request)) // 4 + 346 * ("tools" in request)
        self.output_characters = 0
        self.thinking_characters = 0

    # Random parts

    def make_id(self, prefix: str) -> str:
        """Return an id with 24 characters after the underscore: `msg_01R7T4uxWxN6qwmRFLu4kYfT`."""
        _, _, version = prefix.partition("_")
        return prefix + "".join(self.random.choices(digits + ascii_letters, k=24 - len(version)))

    def opaque(self, size: int) -> str:
        """Return an opaque string, such as a signature, of `size` random bytes in base64."""
        return b64encode(b"\x12" + self.random.randbytes(size)).decode()

    def fragments(self, text: str, longest: int) -> Iterator[str]:
        """Cut a text at random places, and always between a backslash and the escaped character.

        A piece has at most `longest` characters.
        """
        start = 0
        while start < len(text):
            piece = text[start : start + 2 + int(self.random.random() * (longest - 1))]
            piece = piece[: piece.find("\\") + 1] or piece
            yield piece
            start += len(piece)

    # Frames

    def send(self, payload: dict[str, Any], pause: float = 0.0) -> None:
        """Send a frame. Random spaces pad it, as in the API, so that its length reveals nothing."""
        text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
        padding = " " * int(self.random.random() * 16)
        frame = f"event: {payload['type']}\ndata: {text[:-1]}{padding}}}\n\n"
        self.frames.append((pause, frame.encode()))

    def send_raw(self, frame: str, pause: float = 0.0) -> None:
        """Send text unchanged."""
        self.frames.append((pause, frame.encode()))

    def ping(self, pause: float = 0.0) -> None:
        """Send a ping. It is the only frame that the API never pads."""
        self.send_raw('event: ping\ndata: {"type": "ping"}\n\n', pause)

    def message_start(self, pause: float) -> None:
        """Send the first frame, `pause` seconds after the request."""
        usage = {
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 2 + int(self.random.random() * 6),
            "service_tier": "standard",
            "inference_geo": "global",
        }
        message: dict[str, Any] = {
            "model": self.request["model"],
            "id": self.message_id,
            "type": "message",
            "role": "assistant",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": usage,
        }
        self.send({"type": "message_start", "message": message}, pause)

    def start(self, block: dict[str, Any], pause: float = 0.0) -> None:
        """Open the next block. A ping follows the first one."""
        self.index += 1
        self.send(
            {"type": "content_block_start", "index": self.index, "content_block": block}, pause
        )
        if self.index == 0:
            self.ping()

    def delta(self, kind: str, **members: Any) -> None:
        """Send a delta of the open block."""
        delta = {"type": kind, **members}
        self.send({"type": "content_block_delta", "index": self.index, "delta": delta})

    def stop(self) -> None:
        """Close the open block."""
        self.send({"type": "content_block_stop", "index": self.index})

    def message_end(self, stop_reason: str, **usage: Any) -> None:
        """Send the stop reason and the final usage, and end the message."""
        delta = {"stop_reason": stop_reason, "stop_sequence": None, "stop_details": None}
        totals: dict[str, Any] = {
            "input_tokens": self.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": self.output_characters // 4 + 12,
        }
        if self.thinking_characters:
            totals["output_tokens_details"] = {"thinking_tokens": self.thinking_characters // 4}
        self.send({"type": "message_delta", "delta": delta, "usage": totals | usage}, 0.08)
        self.send({"type": "message_stop"})

    # Blocks

    def thinking(self, text: str) -> None:
        """Send a thinking block with a signature."""
        self.start({"type": "thinking", "thinking": "", "signature": ""})
        for piece in self.fragments(text, 14):
            self.delta("thinking_delta", thinking=piece)
        self.delta("signature_delta", signature=self.opaque(320))
        self.stop()
        self.output_characters += len(text)
        self.thinking_characters += len(text)

    def text(
        self, text: str, citations: tuple[dict[str, Any], ...] = (), pause: float = 0.0
    ) -> None:
        """Send a text block. Its citations precede its text."""
        block: dict[str, Any] = {"type": "text", "text": ""}
        self.start({"citations": [], **block} if citations else block, pause)
        for citation in citations:
            self.delta("citations_delta", citation=citation)
        for number, piece in enumerate(self.fragments(text, 18)):
            self.delta("text_delta", text=piece)
            if number == 40:
                self.ping()
        self.stop()
        self.output_characters += len(text)

    def tool_use(self, name: str, value: dict[str, Any], pause: float = 0.3) -> None:
        """Send a tool_use block: a call of a tool that the client runs."""
        self.start(
            {
                "type": "tool_use",
                "id": self.make_id("toolu_01"),
                "name": name,
                "input": {},
                "caller": {"type": "direct"},
            },
            pause,
        )
        self.input(value)
        self.stop()

    def input(self, value: dict[str, Any]) -> None:
        """Send the input of the open tool block. An empty delta comes first, as in the API."""
        text = json.dumps(value, ensure_ascii=False)
        self.delta("input_json_delta", partial_json="")
        for piece in self.fragments(text, 10):
            self.delta("input_json_delta", partial_json=piece)
        self.output_characters += len(text)


def chunks(server: Server) -> Iterator[tuple[float, bytes]]:
    """Return the chunks that a client would read, each with its time in seconds.

    A chunk may contain several frames, and it may end inside a frame. If the next frame contains a
    character of several bytes, the chunk ends inside this character.
    """
    random = server.random
    frames = deque(server.frames)
    now = 0.0
    while frames:
        pause, chunk = frames.popleft()
        now += pause + random.uniform(0.015, 0.06)
        while frames and not frames[0][0] and random.random() < 0.25:
            chunk += frames.popleft()[1]
        if frames and not frames[0][0]:
            frame = frames[0][1]
            character = re.search(rb"[\xc2-\xf4]", frame)
            if character or random.random() < 0.1:
                border = character.end() if character else int(random.random() * len(frame))
                frames[0] = (0.0, frame[border:])
                chunk += frame[:border]
        yield now, chunk


def capture(server: Server, error: str | None = None, lost: int = 0) -> bytes:
    """Return the capture of what `server` sends.

    Args:
        server: the server after its last frame.
        error: the recorded error that ends the connection, or None for a regular end.
        lost: the number of bytes at the end of the last chunk that do not arrive.
    """
    header = CaptureHeader(
        status=200,
        headers={
            "content-type": "text/event-stream; charset=utf-8",
            "request-id": server.request_id,
        },
        request=server.request,
    )
    writer = CaptureWriter(header)
    received = list(chunks(server))
    now, last = received.pop()
    lines = [writer.chunk(data, at) for at, data in received]
    lines.append(writer.chunk(last[: len(last) - lost], now))
    lines.append(writer.end(now + server.random.uniform(0.001, 0.004), error))
    return b"".join(lines)


def question(text: str) -> list[dict[str, Any]]:
    """Return the messages of a conversation that consists of one question."""
    return [{"role": "user", "content": text}]


def tool(name: str, description: str, **properties: str) -> dict[str, Any]:
    """Return the definition of a tool. All its properties are required."""
    schema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
    }
    return {"name": name, "description": description, "input_schema": schema}


# The captures


def text() -> bytes:
    """Return a plain answer with a ping in the middle."""
    server = Server("text", {"messages": question("Why is the sea salty, and rivers are not?")})
    server.message_start(0.71)
    server.text(
        "Rivers *are* salty, only far too little to taste. 🌊\n\n"
        "Rain is slightly acidic, so wherever it runs over rock it dissolves a trace of it: "
        "sodium here, chloride there, a few grams in a bathtub's worth. A river hands that trace "
        "on to the sea and keeps nothing for itself.\n\n"
        "The sea has no such way out. Water leaves it by evaporation, and the salt stays behind, "
        "déjà vu for some four billion years. What keeps it from becoming brine is that salt "
        "leaves too, slowly: in shells, in clay, in the hot rock of the ocean floor. "
        "Today the two sides balance at about 35 grams a litre — a heaped tablespoon. 🧂"
    )
    server.message_end("end_turn")
    return capture(server)


def thinking_and_tool_use() -> bytes:
    """Return reasoning with a signature, a sentence, and a long tool call."""
    plan = tool(
        "add_to_calendar",
        "Put a day with several stops into the calendar that both travellers share.",
        title="string",
        date="string",
        stops="array",
        share="boolean",
    )
    prompt = (
        "We have one day in Lisbon, Saturday 17 April. We love old tiles and custard tarts. "
        "Plan it and put it in our calendar, please!"
    )
    server = Server(
        "thinking-and-tool-use",
        {
            "model": "claude-opus-4-8",
            "thinking": {"type": "adaptive"},
            "messages": question(prompt),
            "tools": [{**plan, "eager_input_streaming": True}],
        },
    )
    server.message_start(0.94)
    server.thinking(
        "One day, tiles and tarts, and it should end up in the calendar, so a plan in words is not "
        "enough: I need the tool.\n\n"
        "The tarts are in Belém, far in the west, and best before the queue forms. The tile museum "
        "is in the east. Between them runs the river, so crossing the city is half the pleasure. "
        "In the evening they should be high up, for the light. That gives an order: Belém, museum, "
        "lunch in Graça, and a viewpoint at sunset."
    )
    server.text(
        "A day from west to east, tarts first and the sunset last. Let me write it down for you. 🗓️",
        pause=0.2,
    )
    server.tool_use(
        "add_to_calendar",
        {
            "title": "Lisboa: azulejos & pastéis",
            "date": "2027-04-17",
            "stops": [
                {
                    "time": "08:45",
                    "place": "Pastéis de Belém",
                    "note": "Warm from the oven, with cinnamon 🥧",
                },
                {
                    "time": "11:00",
                    "place": "Museu Nacional do Azulejo",
                    "note": "Look for the panorama of the city before 1755: 23 metres of tiles",
                },
                {
                    "time": "13:30",
                    "place": "Graça",
                    "note": 'Ask for the "prato do dia"\nand sit under the trees',
                },
                {
                    "time": "16:00",
                    "place": "Rua dos Remédios",
                    "note": "Walk down slowly. The walls are the museum now",
                },
                {
                    "time": "19:50",
                    "place": "Miradouro da Senhora do Monte",
                    "note": "Sunset at 20:15 🌇 Bring a jacket",
                },
            ],
            "share": True,
        },
    )
    server.message_end("tool_use")
    return capture(server)


def parallel_tools() -> bytes:
    """Return a message with three tool calls."""
    server = Server(
        "parallel-tools",
        {
            "messages": question("Where is it warmest right now: Zürich, São Paulo or Malmö?"),
            "tools": [
                tool("get_weather", "The weather of a city now.", city="string", unit="string")
            ],
        },
    )
    server.message_start(0.83)
    server.text("I'll look at all three at once. 🌡️")
    for city, country in (("Zürich", "CH"), ("São Paulo", "BR"), ("Malmö", "SE")):
        server.tool_use("get_weather", {"city": f"{city}, {country}", "unit": "celsius"})
    server.message_end("tool_use")
    return capture(server)


def web_search_with_citations() -> bytes:
    """Return a search on the server, its result, and an answer that cites the result."""
    server = Server(
        "web-search-with-citations",
        {
            "messages": question("When does the last ferry leave Ilha Clara on a winter Sunday?"),
            "tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 2}],
        },
    )
    pages = (
        ("Timetable | Ilha Clara Ferries", "https://ferries.example/timetable", "2 weeks ago"),
        (
            "Getting to Ilha Clara — Câmara Municipal",
            "https://ilhaclara.example/getting-here",
            None,
        ),
        ("Sunday on the quiet island", "https://slowtravel.example/ilha-clara", "May 3, 2026"),
    )

    def cited(page: int, words: str) -> dict[str, Any]:
        title, url, _ = pages[page]
        return {
            "type": "web_search_result_location",
            "cited_text": words,
            "url": url,
            "title": title,
            "encrypted_index": server.opaque(110),
        }

    server.message_start(0.88)
    server.text("I'll look for the current timetable.")
    call = server.make_id("srvtoolu_01")
    server.start(
        {"type": "server_tool_use", "id": call, "name": "web_search", "input": {}}, pause=0.2
    )
    server.input({"query": "Ilha Clara ferry winter timetable Sunday último barco"})
    server.stop()
    results = [
        {
            "type": "web_search_result",
            "title": title,
            "url": url,
            "encrypted_content": server.opaque(380 + int(server.random.random() * 700)),
            "page_age": age,
        }
        for title, url, age in pages
    ]
    server.start(
        {"type": "web_search_tool_result", "tool_use_id": call, "content": results}, pause=1.1
    )
    server.stop()
    server.text("In winter ", pause=0.6)
    server.text(
        "the last ferry leaves Ilha Clara at 17:40 on Sundays",
        (
            cited(0, "Winter timetable (1 November to 31 March). Sundays: 9:10, 13:20, 17:40."),
            cited(1, "Aos domingos, no inverno, o último barco parte às 17h40."),
        ),
    )
    server.text(", half an hour earlier than on weekdays. ")
    server.text(
        "It does not sail in strong southerly wind ⛴️",
        (cited(2, "When the wind turns south the boat stays in port, and so do you."),),
    )
    server.text(", so have a look at the harbour's notice board in the morning.")
    searched = {"web_search_requests": 1, "web_fetch_requests": 0}
    server.message_end(
        "end_turn", input_tokens=server.input_tokens + 7204, server_tool_use=searched
    )
    return capture(server)


def cut_stream() -> bytes:
    """Return a stream whose connection breaks in the middle of a frame, inside a tool call."""
    server = Server(
        "cut-stream",
        {
            "messages": question("Write me a small script that prints our café's menu."),
            "tools": [tool("write_file", "Write a text file.", path="string", content="string")],
        },
    )
    server.message_start(0.77)
    server.text("Of course, here it comes ☕")
    server.tool_use(
        "write_file",
        {
            "path": "café/menu.py",
            "content": 'MENU = {\n    "espresso": 1.80,\n    "galão": 2.60,\n'
            '    "crème brûlée": 5.40,\n}\n\n'
            'for name, price in MENU.items():\n    print(f"{name:.<20}{price:6.2f} €")\n',
        },
    )
    # The connection breaks in the middle of the menu.
    fragments = [number for number, (_, frame) in enumerate(server.frames) if b"input_" in frame]
    del server.frames[fragments[len(fragments) * 2 // 3] + 1 :]
    server.frames[-1] = (0.05, server.frames[-1][1])
    error = "RemoteProtocolError('peer closed connection without sending complete message body')"
    return capture(server, error, lost=31)


def overloaded() -> bytes:
    """Return a stream with the status 200 that contains an error, after half a story."""
    server = Server("overloaded", {"messages": question("Tell me a story about a lighthouse.")})
    server.message_start(1.32)
    server.start({"type": "text", "text": ""})
    story = (
        "The lighthouse of São Bento had not been lit for thirty years when the keeper's "
        "granddaughter found the key. It was in a biscuit tin, under a naïve drawing of a whale 🐋 "
        "and it was still warm"
    )
    for piece in server.fragments(story, 18):
        server.delta("text_delta", text=piece)
    error = {"details": None, "type": "overloaded_error", "message": "Overloaded"}
    server.send({"type": "error", "error": error, "request_id": server.request_id}, 0.9)
    return capture(server)


def proxy_dirty() -> bytes:
    """Return a stream with deviations that proxies cause. All are tolerated and reported."""
    server = Server(
        "proxy-dirty",
        {
            "messages": question("Is the bakery in Évora open on Monday?"),
            "tools": [
                tool("opening_hours", "Opening hours of a shop.", shop="string", day="string")
            ],
        },
    )
    server.message_start(1.05)
    server.text("Let me ask the bakery itself 🥖, they answer quickly.")
    server.index += 1  # the proxy has dropped a block
    server.tool_use("opening_hours", {"shop": "Padaria Évora", "day": "Monday"})
    server.message_end("tool_use")

    opening, *clean, _ = (frame.decode() for _, frame in server.frames)
    server.frames = []
    server.send_raw(": connected to upstream\n\n", 1.05)
    server.send_raw(opening.replace("\n", "\r\n"))
    server.send_raw(opening)  # a retry of the proxy sends it twice
    server.send_raw('event: route\ndata: {"type":"route","provider":"example-2","attempt":2}\n\n')
    for number, frame in enumerate(clean):
        match number % 7:
            case 1:
                server.send_raw("event: ping\ndata: {}\n\n" + frame)
            case 2:
                server.send_raw(frame.partition("\n")[2])  # without its `event:` line
            case 3:
                server.send_raw(frame.replace("\n", "\r\n"))
            case 4:
                server.send_raw(f"upstream-milliseconds: {20 + number}\n{frame}")
            case 5:
                server.send_raw(": keep-alive\n\n" + frame)
            case _:
                server.send_raw(frame)
    server.send_raw("data: [DONE]\n\n", 0.3)  # instead of message_stop
    return capture(server)


def captures() -> dict[str, bytes]:
    """Return the content of each file, by its name."""
    made = (
        text,
        thinking_and_tool_use,
        parallel_tools,
        web_search_with_citations,
        cut_stream,
        overloaded,
        proxy_dirty,
    )
    return {f"{make.__name__.replace('_', '-')}.capture.jsonl": make() for make in made}


def table_of_bodies() -> bytes:
    """Return a table of three captures, as JSON Lines."""
    names = ("text", "cut-stream", "overloaded")
    made = captures()
    rows = ({"id": name, "body": made[f"{name}.capture.jsonl"].decode()} for name in names)
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


if __name__ == "__main__":
    for name, data in {**captures(), "bodies.jsonl": table_of_bodies()}.items():
        (HERE / name).write_bytes(data)
        print(f"{name}: {len(data)} bytes")
