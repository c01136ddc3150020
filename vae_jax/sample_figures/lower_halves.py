"""The lower half of an image, drawn given the upper one."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Num, PRNGKeyArray
from matplotlib.figure import Figure

from bayes_jax.imputation import Imputations, impute
from vae_jax import hidden_pixels, imputation_report
from vae_jax.sample_figures.subject import Subject, spread

NUM_IMAGES = 5
NUM_DRAWN = imputation_report.NUM_DRAWN
_CHAINS = {"num_chains": NUM_DRAWN, "num_samples": 20, "num_warmup": 300}
"""Of z, where there is no closed form: each shown draw is of a chain of its own."""


def halves(key: PRNGKeyArray, subject: Subject, x: Num[np.ndarray, "image dim"]) -> Figure:
    """Rows of test images: whole, the upper half, and draws from p(lower half | upper half).

    Args:
        key: a PRNG key.
        subject: with p(x_hidden | x_seen) in closed form, or a continuous latent.
        x: test images.

    Raises:
        InputError: it has neither.
    """
    x = spread(x, NUM_IMAGES)
    drawn, hidden = draw_lower_halves(key, subject, x)
    title = f"{subject.name}: lower halves drawn given the upper ones"
    return imputation_report.figure(
        drawn, x, hidden, subject.shape, title=title, white=subject.white
    )


def draw_lower_halves(
    key: PRNGKeyArray, subject: Subject, x: Num[np.ndarray, "image dim"]
) -> tuple[Imputations, Bool[np.ndarray, "image dim"]]:
    """`NUM_DRAWN` draws of every lower half, in closed form or by MCMC on z.

    Args:
        key: a PRNG key.
        subject: as for `halves`.
        x: whole images; their lower halves are not read.

    Returns:
        The images completed, and masks that are True where a pixel was hidden.
    """
    key_hide, key_draw = jax.random.split(key)
    hidden = hidden_pixels.hide(key_hide, subject.shape, len(x), hidden="half", share=0.5)
    drawn = impute(
        key_draw,
        subject.generative,
        jnp.asarray(x),
        hidden,
        num_imputations=NUM_DRAWN,
        batch_size=len(x),
        **_CHAINS,
    )
    return drawn, np.asarray(hidden)
