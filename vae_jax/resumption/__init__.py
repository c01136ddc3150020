"""Long inferences that can be stopped anywhere and go on from the disk.

    leaves     arrays of a state or a result as a flat list, and what tells two of them apart
    outlines   results of the project (NamedTuples of arrays) as JSON beside such a list
    stores     the folder: results that are finished, signals, what it all belongs to
    work       a computation in chunks, saved between them
    engines    MCMC, annealing and q* of `bayes_jax` as such work: same arguments, same results

What is done in a chunk depends on what the computation is and never on the clock, so that a run
which was killed and went on gives the numbers of one that was not, bit by bit on the same machine.
"""

from vae_jax.resumption.engines import (
    annealed_draws,
    engines_in,
    evidence_sandwich,
    fit_posterior,
    sample_posterior,
    unsaved,
)
from vae_jax.resumption.stores import Store, open_store
from vae_jax.resumption.work import Work, carry_out

__all__ = [
    "Store",
    "Work",
    "annealed_draws",
    "carry_out",
    "engines_in",
    "evidence_sandwich",
    "fit_posterior",
    "open_store",
    "sample_posterior",
    "unsaved",
]
