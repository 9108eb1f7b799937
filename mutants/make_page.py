"""The mutants that survive in, the list of them in docs/mutants.md out. Knows no module.

`python mutants/make_page.py` writes it into the page; a test compares.
"""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

EQUIVALENT: Final = Path(__file__).with_name("equivalent.toml")
PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "mutants.md"

_MADE: Final = re.compile(r"(?<=<!-- made: survivors -->\n).*?(?=<!-- end -->)", re.DOTALL)


def equivalent() -> dict[str, list[dict[str, Any]]]:
    """Return for each module the groups of mutants that nothing can tell from the original.

    A group has a `reason` and `mutants`, each of them three texts: the function or class, the
    lines that are changed, and what they are changed to.
    """
    return tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))


def code(text: str) -> str:
    """Return a text as Markdown shows code; nothing is said to be nothing."""
    if "`" in text:
        return f"`` {text} ``"
    return f"`{text}`" if text else "nothing"


def survivors() -> str:
    """Return the mutants that survive, by module and by reason."""
    lines: list[str] = []
    for module, groups in equivalent().items():
        lines.append(f"\n### {module}\n")
        for group in groups:
            lines.append(f"\n{group['reason']}\n\n")
            for where, was, now in group["mutants"]:
                place = f"{code(where)}: " if where else ""
                lines.append(f"- {place}{code(was)} → {code(now)}\n")
    return "".join(lines) + "\n"


def made(page: str) -> str:
    """Return the page with its list made anew."""
    return _MADE.sub(lambda _: survivors(), page)


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
