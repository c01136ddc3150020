"""Data: where it lies (`sources`), and what a model sees of it (`arrays`)."""
