"""The scoring kernel: forest arrays and rows in, decision function out."""
