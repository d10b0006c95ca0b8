"""The decision core: what a rollout does next. PURE: no I/O, no clock, no logging; `now` is in the snapshot."""
