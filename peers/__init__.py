"""Differential tests: the same input to a peer and to us; what differs is in a table, by name.

`make peers` installs the peers (dependency group `peers`) and runs these tests; the tests in
`tests/` need none of them. The table is docs/peers.md.
"""
