"""Long random runs against what strangers can reach: the HTTP and gRPC surface, and the parsers of bytes behind it.

`make fuzz` looks for answers that a client must never see and for crashes. It proves nothing about speed or memory,
and it does not replace a test: what it finds becomes one.
"""
