"""`python -m sansio_stream` runs the command, or says how to install it."""

import importlib
import runpy
import sys
import tomllib

import pytest

import sansio_stream
import sansio_stream_tools
from shared_data import REPOSITORY


def run() -> None:
    runpy.run_module("sansio_stream", run_name="__main__", alter_sys=True)


def test_the_module_runs_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bool] = []
    monkeypatch.setattr(sansio_stream_tools, "main", lambda: calls.append(True))
    run()
    assert calls == [True]


def test_without_the_tools_the_module_says_how_to_install_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "sansio_stream_tools", None)
    with pytest.raises(SystemExit, match=r"pip install 'sansio-stream\[cli\]'"):
        run()


def test_another_missing_module_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    class Finder:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "sansio_stream_tools":
                raise ModuleNotFoundError("No module named 'other'", name="other")

    monkeypatch.delitem(sys.modules, "sansio_stream_tools")
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(ModuleNotFoundError, match="other"):
        run()


def test_importing_the_module_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sansio_stream_tools", None)
    importlib.import_module("sansio_stream.__main__")


def test_the_version_is_a_literal_that_the_build_reads() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "sansio_stream/__init__.py"
    assert sansio_stream.__version__ == "0.1.0"
