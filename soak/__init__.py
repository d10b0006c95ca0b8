"""One long load of requests of every kind, good and bad, against one predictor with everything on.

`make soak` looks for what only shows after millions of requests: memory, file descriptors or threads that pile up, an
answer that is now and then another than it should be, a log line that nobody can trace to its request. It measures no
speed and looks for no crash by strange input: that is for `make bench` and `make fuzz`.
"""
