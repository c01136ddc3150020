"""A walk that is stopped and continued is the walk that was not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax import InputError, annealing
from bayes_jax.annealing import engines


@pytest.mark.slow
@pytest.mark.parametrize("transition", ["hmc", "hmc_bfloat16", "elliptical"])
@pytest.mark.parametrize("backward", [False, True])
def test_stopped_and_continued_walks_weigh_the_same(cases, transition, backward):
    case = cases("poisson")
    x, z = case.x[:5], case.z[:5] if backward else None
    settings, betas = annealing.make_settings(
        case.model,
        None,
        num_chains=3,
        num_temperatures=12,
        schedule="sigmoid",
        transition=transition,
        num_leapfrogs=2,
        batch_size=None,
    )
    start = annealing.init(jax.random.key(0), case.model, x, betas, settings=settings, z=z)
    whole = annealing.advance(case.model, x, start, settings=settings)
    chains = start
    for num_moves in (4, 1, 6):
        chains = annealing.advance(case.model, x, chains, settings=settings, num_moves=num_moves)
        # As it would come back from a file.
        keyless = chains._replace(key=jax.random.key_data(chains.key))
        keyless = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), keyless)
        chains = keyless._replace(key=jax.random.wrap_key_data(keyless.key))
    assert int(chains.num_moves) == start.total_moves == 11
    # How forces are rounded depends on what XLA fuses, and that on the number of moves.
    rtol = 1e-6 if transition == "hmc_bfloat16" else 0
    found, expected = annealing.log_weight(chains), annealing.log_weight(whole)
    np.testing.assert_allclose(found, expected, rtol=rtol)
    np.testing.assert_array_equal(chains.num_grads, whole.num_grads)
    with pytest.raises(InputError, match="num_moves is 1: expected 0 to 0, those left"):
        annealing.advance(case.model, x, chains, settings=settings, num_moves=1)
    np.testing.assert_array_equal(
        annealing.advance(case.model, x, chains, settings=settings).log_weight, chains.log_weight
    )
    with pytest.raises(InputError, match="the walk has made 0 of 11 moves"):
        annealing.log_weight(start)
    sign = -1 if backward else 1
    level = sign * np.asarray(annealing.log_weight(whole)).mean(axis=1)
    assert np.all(np.abs(level - case.log_evidence[:5]) < 5)


def test_starts_that_make_no_sense_are_named(cases):
    case, settings = cases("nonlinear_bernoulli"), annealing.Settings(num_temperatures=4)

    def init(betas=(0.0, 0.3, 0.6, 0.8, 1.0), x=case.x, z=None):
        key = jax.random.key(0)
        return annealing.init(key, case.model, x, jnp.array(betas), settings=settings, z=z)

    with pytest.raises(InputError, match="does not rise at step 2"):
        init(betas=(0.0, 0.6, 0.3, 0.8, 1.0))
    with pytest.raises(InputError, match=r"leading axes of the data are \[3, 64\]"):
        init(z=case.z[:3])
    with pytest.raises(InputError, match="outside the support of the likelihood"):
        init(x=0.5 * case.x)


@pytest.mark.slow
def test_steps_are_read_off_the_table_and_chains_do_not_see_each_other(cases, check_walk_is_blind):
    """Adaptation inside the walk, to any chain's own past, would void the bound."""
    check_walk_is_blind(cases("nonlinear_bernoulli"))


@pytest.mark.long
def test_memory_is_bounded_by_the_batch_size(cases):
    """Of the compiled walk: four times the images take as much, if as many are held at once."""
    case = cases("nonlinear_bernoulli")

    def temporary(num_images, batch_size):
        settings, betas = annealing.make_settings(
            case.model,
            None,
            num_chains=8,
            num_temperatures=10,
            schedule="sigmoid",
            transition="hmc",
            num_leapfrogs=2,
            batch_size=batch_size,
        )
        x = jnp.tile(case.x, (num_images // len(case.x), 1))
        walk = engines._walk.lower(
            jax.random.key(0), case.model, None, None, x, betas, 0, settings=settings
        )
        return walk.compile().memory_analysis().temp_size_in_bytes

    assert temporary(512, 64) < 1.5 * temporary(128, 64)
    assert temporary(512, None) > 2.5 * temporary(128, None)
