"""How the runs of a sweep are executed: within limits, on any executor."""
