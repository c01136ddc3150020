"""A model by annealing says of x what the engines say under the same options."""

import jax
import numpy as np

from bayes_jax import annealed_evidence, simulate
from bayes_jax.annealing import annealed_model, evidence_sandwich

KEY = jax.random.key(4)


def test_both_sides_are_those_of_the_engines_under_its_options(linear_case):
    model, z, x = linear_case.model, linear_case.z[:4], linear_case.x[:4]
    options = {
        "guide": linear_case.guide,
        "schedule": "power",
        "transition": "elliptical",
        "num_chains": 4,
        "num_temperatures": 5,
    }
    annealed = annealed_model(model, **options)
    assert annealed.latent is model
    assert annealed.guide is linear_case.guide
    np.testing.assert_array_equal(annealed.sample(KEY, 7), simulate(KEY, model, 7)[1])
    options["batch_size"] = 256
    for found, expected in (
        (annealed.log_evidence(KEY, x), annealed_evidence(KEY, model, x, **options)),
        (annealed.sandwich(KEY, z, x), evidence_sandwich(KEY, model, z, x, **options)),
    ):
        for part, of_engine in zip(found, expected, strict=True):
            np.testing.assert_array_equal(part, of_engine)
