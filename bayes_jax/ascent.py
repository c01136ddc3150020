"""Gradient ascent on the ELBO of one x, which stops when it has stopped rising.

The rule. Steps of one size are taken in windows of `WINDOW`. After each window the ELBO of the
params is held against that of the best so far, on the same noise, which cancels most of the error.
When for `patience` steps it has not exceeded the best by `least_rise` standard errors of the
difference, the step size falls to zero as a half cosine over the `COOL_DOWN` steps that follow, and
the fit is done. The same fall ends at `num_steps` where nothing stopped it before. So a fit that
stops early loses the noise of its last steps as one that goes on to the end does (Hagele et al.
2024, arXiv 2405.18392, for the schedule; Welandawe et al. 2022, arXiv 2203.15945, for stopping).
Where the last params have fallen below the best by `CLEAR_FALL` standard errors, or their ELBO is
no number, the best are kept; the first of these is the start.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from bayes_jax.estimates import mean_stderr

WINDOW = 25
COOL_DOWN = 150
NUM_CHECK_SAMPLES = 64
# Less would often be noise, to which the best was chosen and the last, of smaller steps, was not.
CLEAR_FALL = 4.0


class Ascent(NamedTuple):
    """What the next window needs.

    Attributes:
        params: so far.
        opt_state: of Adam.
        step: how many were taken.
        end: step at which the fit is done.
        log_weight: of the params, on the noise of the checks, `[sample]`.
        best: the same of the params last found to have risen.
        best_params: those.
        best_step: when that was.
        num_evaluations: log p(x, z) or gradients of it, spent so far.
    """

    params: PyTree
    opt_state: PyTree
    step: Int[Array, ""]
    end: Int[Array, ""]
    log_weight: Float[Array, " sample"]
    best: Float[Array, " sample"]
    best_params: PyTree
    best_step: Int[Array, ""]
    num_evaluations: Int[Array, ""]


def ascend(
    key: PRNGKeyArray,
    log_weights: Callable,
    params: PyTree,
    *,
    num_steps: int,
    num_samples: int,
    patience: int,
    learning_rate: float | Float[Array, ""],
    least_rise: float | Float[Array, ""] | None,
) -> Ascent:
    """Maximise the mean of `log_weights` by Adam until the rule above or `num_steps` ends it.

    Under `vmap` an observation that is done keeps its params while others go on.

    Args:
        key: a PRNG key.
        log_weights: `(key, params, num) -> [num]`, differentiable in the params.
        params: where to start.
        num_steps: at most.
        num_samples: draws per step.
        patience: steps without a rise after which the step size falls.
        learning_rate: before the fall, in units of the params.
        least_rise: in standard errors; None takes all steps.

    Returns:
        The last Ascent; with the best params, where the last have clearly fallen below. Without
        checks (all steps taken, or no more than the fall has) the last are not held against any.
    """
    key_steps, key_check = jax.random.split(key)
    adam = optax.scale_by_adam()
    window, cool_down = min(WINDOW, num_steps), min(COOL_DOWN, num_steps)
    # What falls from the start cannot end sooner: there is nothing to check.
    checked = least_rise is not None and num_steps > cool_down

    def loss(params, key):
        return -jnp.mean(log_weights(key, params, num_samples))

    def check_log_weights(params):
        return log_weights(key_check, params, NUM_CHECK_SAMPLES)

    def one_step(carry, step):
        params, opt_state, end = carry
        gradient = jax.grad(loss)(params, jax.random.fold_in(key_steps, step))
        updates, opt_state = adam.update(gradient, opt_state)
        rate = learning_rate * half_cosine((end - step) / cool_down)
        params = jax.tree.map(lambda value, update: value - rate * update, params, updates)
        return (params, opt_state, end), None

    def one_window(state: Ascent) -> Ascent:
        steps = state.step + jnp.arange(window)
        carry = (state.params, state.opt_state, state.end)
        (params, opt_state, end), _ = jax.lax.scan(one_step, carry, steps)
        step = jnp.minimum(state.step + window, end)
        spent = state.num_evaluations + num_samples * (step - state.step)
        state = state._replace(params=params, opt_state=opt_state, step=step, num_evaluations=spent)
        return check(state) if checked else state

    def check(state: Ascent) -> Ascent:
        log_weight = check_log_weights(state.params)
        rises = has_risen(log_weight - state.best, least_rise)
        best_step = jnp.where(rises, state.step, state.best_step)
        stops = state.step - best_step >= patience
        return state._replace(
            log_weight=log_weight,
            best_params=choose(rises, state.params, state.best_params),
            best=jnp.where(rises, log_weight, state.best),
            best_step=best_step,
            end=jnp.where(stops, jnp.minimum(state.end, state.step + cool_down), state.end),
            num_evaluations=state.num_evaluations + NUM_CHECK_SAMPLES,
        )

    log_weight = check_log_weights(params) if checked else jnp.zeros(1)
    start = Ascent(
        params=params,
        opt_state=adam.init(params),
        step=jnp.array(0),
        end=jnp.array(num_steps),
        log_weight=log_weight,
        best=log_weight,
        best_params=params,
        best_step=jnp.array(0),
        num_evaluations=jnp.array(NUM_CHECK_SAMPLES if checked else 0),
    )
    last = jax.lax.while_loop(lambda state: state.step < state.end, one_window, start)
    if not checked:
        return last
    holds = jnp.isfinite(jnp.mean(last.log_weight))
    holds &= ~has_risen(last.best - last.log_weight, CLEAR_FALL)
    return last._replace(params=choose(holds, last.params, last.best_params))


def choose(first: Bool[Array, ""], params: PyTree, other: PyTree) -> PyTree:
    """The params, or the other ones."""
    return jax.tree.map(lambda one, two: jnp.where(first, one, two), params, other)


def half_cosine(left: Float[Array, ""]) -> Float[Array, ""]:
    """From 1 while `left` >= 1 down to 0 at `left` <= 0."""
    return 0.5 - 0.5 * jnp.cos(jnp.pi * jnp.clip(left, 0.0, 1.0))


def has_risen(
    difference: Float[Array, " sample"], least_rise: float | Float[Array, ""]
) -> Bool[Array, ""]:
    """Whether the mean exceeds so many of its standard errors; not, where it is no number."""
    return jnp.mean(difference) > least_rise * mean_stderr(difference)
