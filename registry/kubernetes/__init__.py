"""The API server, as the controller uses it: plain objects in and out, and every write through one function."""
