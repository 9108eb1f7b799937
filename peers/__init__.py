"""Differential tests: a peer and this library get the same input. Each difference has a name.

`make peers` installs the peers (dependency group `peers`) and runs these tests. The tests in
`tests/` do not need the peers. docs/peers.md has a table of all differences.
"""
