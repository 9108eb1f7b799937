"""What holds for every test in `tests/` holds here: the hypothesis profiles, the account."""

from conftest import pytest_terminal_summary

__all__ = ["pytest_terminal_summary"]
