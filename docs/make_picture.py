"""Makes replay.svg: what `sansio-stream replay` shows of a cut stream, as a picture.

`python docs/make_picture.py` writes the picture. A test compares its text with what the command
shows.
"""

import html
import io
import re
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.terminal_theme import MONOKAI

from sansio_stream_tools._reading import Reading
from sansio_stream_tools._views import view_of
from sansio_stream_tools.sources import open_sources

PICTURE: Final = Path(__file__).with_name("replay.svg")
RECORDING: Final = Path(__file__).parents[1] / "examples" / "cut-stream.capture.jsonl"

# Rich's own format loads fonts from the web. The alternatives are spelt out by the families.
FORMAT: Final = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>sansio-stream replay examples/cut-stream.capture.jsonl</title>
<style>
.{unique_id}-matrix {{
  font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; white-space: pre;
}}
.{unique_id}-title {{ font-family: sans-serif; font-size: 18px; font-weight: bold; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def shown() -> Console:
    """Return a console that has recorded what the command shows on a terminal of 80 columns."""
    console = Console(
        record=True,
        width=80,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        markup=False,
        emoji=False,
        highlight=False,
        legacy_windows=False,
    )
    source = next(open_sources(str(RECORDING)))
    view = view_of("show", Reading(source.header), console, verbose=False)
    view.begin()
    for chunk in source.chunks:
        for result in view.reading.feed(chunk):
            view.add(result)
    for result in view.reading.finish(source.end):
        view.add(result)
    view.end()
    return console


def picture() -> str:
    """Return the picture as SVG."""
    return shown().export_svg(
        title="sansio-stream replay cut-stream.capture.jsonl",
        theme=MONOKAI,
        code_format=FORMAT,
        unique_id="replay",
    )


def text_in(svg: str) -> str:
    """Return the text in a picture of rich, without white space."""
    texts = re.findall(r'<text class="replay-r[^>]*>(.*?)</text>', svg, re.DOTALL)
    return "".join(html.unescape("".join(texts)).split())


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
