"""A process that saves and saves until it is killed; started by test_killed_saves.py.

It imports what it needs and waits for the line `FOLDER START`. Then it writes a line `STEP VERSION`
after each checkpoint that it has saved.
"""

import sys

import numpy as np

from vae_jax import checkpoints


def state_of(step, version):
    """Weights that tell which state they belong to."""
    weights = np.random.default_rng([step, version]).normal(size=(64, 64)).astype(np.float32)
    return {"place": np.array([step, version], np.int32), "weights": weights}


def save_forever(folder, start):
    """Each step twice, so that the second replaces the first."""
    for step in range(start, start + 10_000):
        for version in (0, 1):
            checkpoints.save(folder, step, state_of(step, version), keep=2)
            print(step, version, flush=True)


if __name__ == "__main__":
    folder, start = sys.stdin.readline().split()
    save_forever(folder, int(start))
