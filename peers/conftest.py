"""Uses the hypothesis profiles and the summary of shared data of `tests/conftest.py`."""

from conftest import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]
