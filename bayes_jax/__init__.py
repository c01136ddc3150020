"""Probability and inference over NumPyro distributions: no networks, no files, no plots."""
