"""Which posterior over a decoder's weights predicts best: chosen on held-out images."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jaxtyping import PRNGKeyArray

from bayes_jax.errors import InputError
from vae_jax import systems, training
from vae_jax.configs import (
    BayesianDecoderConfig,
    ObservationSpec,
    TrainConfig,
    WeightPosteriorConfig,
)
from vae_jax.training import FitResult


def choose_weights(
    key: PRNGKeyArray,
    config: BayesianDecoderConfig,
    candidates: Sequence[WeightPosteriorConfig],
    train: Any,
    validation: Any,
    *,
    spec: ObservationSpec,
    loop: TrainConfig,
) -> tuple[BayesianDecoderConfig, tuple[FitResult, ...]]:
    """The prior scale, temperature or sampler whose members give held-out images most evidence.

    Each is trained anew, and judged by what the loop keeps the best of: the bound of
    log (1/S) sum_s p(x | theta_s). What is chosen here was fitted to the validation images; judge
    it on others.

    Args:
        key: the same for every candidate.
        config: the networks; its own weights are no candidate.
        candidates: priors and posteriors of the weights.
        train: `[num, dim]`.
        validation: `[num, dim]`.
        spec: the observation.
        loop: the same for every candidate.

    Returns:
        The config with the best candidate, and the result of each.

    Raises:
        InputError: no candidates, or data that cannot be trained on.
    """
    if not candidates:
        raise InputError("candidates is empty: expected one posterior of the weights at least")
    configs = [replace(config, weights=weights) for weights in candidates]
    results = tuple(
        training.fit(key, systems.build("bayesian_decoder", one, spec), train, validation, loop)
        for one in configs
    )
    objectives = [float(result.progress.best_objective) for result in results]
    return configs[objectives.index(max(objectives))], results
