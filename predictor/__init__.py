"""The data plane: takes telemetry in, holds forests in memory, answers scores."""
