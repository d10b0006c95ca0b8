"""Kills the registry controller at each of its writes; see `docs/killpoints.md`.

It drives the controller by hand, with a clock of its own, and compares what a crash leaves with what no crash leaves.
"""
