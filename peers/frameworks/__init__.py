"""Frameworks on the official SDK, over our client. `peers/other_suites.py` runs these tests.

They need the environment that it makes. In any other one they are skipped.
"""
