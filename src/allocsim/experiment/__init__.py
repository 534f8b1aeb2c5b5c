"""Experiments: a file that asks a question becomes runs, results and an answer."""
