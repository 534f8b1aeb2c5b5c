"""Figures of an experiment's results: publication-ready, the same bytes for the same results."""
