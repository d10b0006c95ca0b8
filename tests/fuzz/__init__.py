"""The fuzzers, tried on what is broken on purpose."""
