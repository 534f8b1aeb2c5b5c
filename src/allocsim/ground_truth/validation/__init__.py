"""Puts the simulation to the test: real replays and simulations of the same cases side by side."""

from allocsim.ground_truth.validation.validate import Setting, Validation, validate

__all__ = ["Setting", "Validation", "validate"]
