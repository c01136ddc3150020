"""Neural generative models and their training, held against the inference of `bayes_jax`.

Importing this package imports nothing heavy, so that `--help` of every script answers at once.
"""

__version__ = "0.1.0"
