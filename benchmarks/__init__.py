"""Measurements and endurance runs: what tests cannot say because it is about time, or takes long."""
