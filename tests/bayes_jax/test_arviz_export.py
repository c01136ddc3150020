"""Draws come out of ArviZ as they went in."""

import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np

from bayes_jax import Draws
from bayes_jax.arviz_export import to_arviz


def draws_of(z) -> Draws:
    shape = jax.tree.leaves(z)[0].shape[:3]
    energy = jax.random.normal(jax.random.key(1), shape)
    return Draws(
        z=z,
        log_joint=-energy,
        energy=energy,
        accept=jnp.ones(shape[0]),
        diverging=jnp.zeros(shape[0], int),
        num_grads=jnp.ones(shape[0], int),
        valid=jnp.ones(shape[0], bool),
        from_prior=jnp.zeros(shape[:2], bool),
    )


def exported(z):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of ArviZ 0.23, when it is imported
        return to_arviz(draws_of(z))


def test_a_vector_becomes_z_with_x_first():
    z = jax.random.normal(jax.random.key(0), (5, 4, 20, 3))
    data = exported(z)
    assert data["posterior"]["z"].dims[:3] == ("chain", "draw", "x")
    np.testing.assert_array_equal(data["posterior"]["z"].values, np.moveaxis(z, 0, 2))
    energy = np.moveaxis(draws_of(z).energy, 0, 2)
    np.testing.assert_array_equal(data["sample_stats"]["energy"].values, energy)
    np.testing.assert_array_equal(data["sample_stats"]["lp"].values, -energy)


def test_leaves_of_a_pytree_keep_their_paths():
    z = {"mu": jnp.zeros((2, 4, 10)), "level": {"tau": jnp.ones((2, 4, 10, 3, 1))}}
    data = exported(z)
    assert set(data["posterior"].data_vars) == {"mu", "level.tau"}
    assert data["posterior"]["mu"].shape == (4, 10, 2)
    assert data["posterior"]["level.tau"].shape == (4, 10, 2, 3, 1)


def test_without_arviz_one_line_says_how_to_get_it():
    code = (
        "import sys; sys.modules['arviz'] = None\n"
        "from bayes_jax.arviz_export import to_arviz\n"
        "from bayes_jax import InputError\n"
        "try: to_arviz(None)\n"
        "except InputError as error: print(error)\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == 'ArviZ is not installed: pip install "vae-bayes-jax[arviz]"\n'
