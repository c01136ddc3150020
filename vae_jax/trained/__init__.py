"""Training runs on the disk: begin one, go on where it stopped, load what it became.

A run folder is written from the first finished epoch on: input that cannot be trained on leaves no
trace. Its checkpoints hold the loop's `Progress`, so that one file serves resuming and using. Of
several processes the first alone writes; all read what it wrote.
"""

from vae_jax.trained.jobs import Job, prepare
from vae_jax.trained.loading import TrainedRun, changed_versions, load, load_data
from vae_jax.trained.recording import finished, train, train_together

__all__ = [
    "Job",
    "TrainedRun",
    "changed_versions",
    "finished",
    "load",
    "load_data",
    "prepare",
    "train",
    "train_together",
]
