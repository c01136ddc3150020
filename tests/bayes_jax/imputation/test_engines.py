"""Imputations of a linear-Gaussian model by every way, against its closed form."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial

from bayes_jax import LatentModel
from bayes_jax.density import generative as of_density
from bayes_jax.effective_size import ess_mean
from bayes_jax.errors import InputError
from bayes_jax.exact import linear_gaussian
from bayes_jax.imputation import impute, impute_by_mcmc, impute_by_pseudo_gibbs

KEY = jax.random.key(0)
NUM = 8
CHAINS = {"num_chains": 8, "num_imputations": 800}
FEW = {"num_chains": 2, "num_samples": 4, "num_imputations": 3, "num_warmup": 4}
# Of the likelihood in the first call of either engine: forward passes, and no loop unrolled.
TRACES_OF_MCMC, TRACES_OF_GIBBS = 10, 4


def exactly(generative, x, missing):
    return impute(KEY, generative, x, missing)


def by_mcmc(generative, x, missing):
    options = {"num_warmup": 200, "num_samples": 400, **CHAINS}
    return impute_by_mcmc(KEY, generative.latent, x, missing, **options)


def by_pseudo_gibbs(generative, x, missing):
    """With the exact posterior as guide it is Gibbs sampling."""
    options = {"guide": generative.posterior, "num_samples": 1000, **CHAINS}
    return impute_by_pseudo_gibbs(KEY, generative.latent, x, missing, **options)


def wide(posterior, x):
    """A guide that is wrong: shifted, and half as wide again."""
    exact = posterior(x)
    return dist.MultivariateNormal(exact.loc + 0.3, scale_tril=1.5 * exact.scale_tril)


def by_metropolis(generative, x, missing, *, corrected=True):
    # A quarter of its moves are accepted, and a move is small: its chains are long.
    options = {"num_samples": 3000, "num_warmup": 500, "corrected": corrected, **CHAINS}
    guide = Partial(wide, generative.posterior)
    return impute_by_pseudo_gibbs(KEY, generative.latent, x, missing, guide=guide, **options)


SAMPLERS = {"mcmc": by_mcmc, "pseudo-Gibbs": by_pseudo_gibbs, "Metropolis": by_metropolis}
WAYS = {"exact": exactly, **SAMPLERS}


@pytest.fixture(scope="module")
def imputed(generative, batch):
    """Way -> what it makes of a batch whose missing entries are NaN."""
    x, missing = batch(NUM)
    unknown = jnp.where(missing, jnp.nan, x)
    return functools.cache(lambda way: WAYS[way](generative, unknown, missing))


def standard_errors(generative, found, x, missing):
    """How far mean and covariance of z lie from the closed form, in their own standard errors."""
    mean, covariance = latent_moments(generative, x, missing)
    centred = found.z - mean[:, None, None].astype(np.float32)
    products = centred[..., :, None] * centred[..., None, :]
    products = products.reshape(*centred.shape[:-1], -1)
    return t_values(centred, 0), t_values(products, covariance.reshape(NUM, -1))


@jax.jit
def t_values(values, expected):
    """Of means over chains and draws, for values `[batch, chain, draw, quantity]`."""
    num = jax.vmap(jax.vmap(ess_mean))(jnp.moveaxis(values, -1, 1))
    errors = jnp.std(values, axis=(1, 2)) / jnp.sqrt(num)
    return (jnp.mean(values, axis=(1, 2)) - expected) / errors


def latent_moments(generative, x, missing):
    params = generative.posterior.args[0]
    mean, covariance = [], []
    for row, mask in zip(np.asarray(x, np.float64), np.asarray(missing), strict=True):
        loading, residual = np.asarray(params.loading)[~mask], (row - params.mean)[~mask]
        precision = np.eye(2) + loading.T @ (loading / np.asarray(params.variance)[~mask, None])
        covariance.append(np.linalg.inv(precision))
        mean.append(covariance[-1] @ loading.T @ (residual / params.variance[~mask]))
    return np.stack(mean), np.stack(covariance)


@pytest.mark.parametrize("way", SAMPLERS)
def test_samplers_agree_with_the_closed_form(generative, batch, imputed, way):
    x, missing = batch(NUM)
    of_mean, of_covariance = standard_errors(generative, imputed(way), x, missing)
    assert np.abs(of_mean).max() < 4
    assert np.abs(of_covariance).max() < 4


@pytest.mark.parametrize("way", WAYS)
def test_imputations_vary_around_the_mean_as_the_joint_normal_does(generative, batch, imputed, way):
    """Of all ways alike: the exact mean, and the variances of x given what was observed."""
    x, missing = batch(NUM)
    variance = jax.vmap(lambda *row: generative.completion(*row).law.variance)(x, missing)
    mean = jax.vmap(lambda *row: generative.completion(*row).mean)(x, missing)
    found = imputed(way)
    # So many independent draws are the least that a chain here is worth.
    num = 100
    assert np.abs((found.mean - mean) / jnp.sqrt(variance / num))[missing].max() < 4
    drawn = jnp.mean((found.x - mean[:, None]) ** 2, axis=1)
    assert np.abs(drawn / variance - 1)[missing].max() < 4 * np.sqrt(2 / num)


def test_a_wrong_guide_is_seen_where_nothing_corrects_it(generative, batch):
    x, missing = batch(NUM)
    found = by_metropolis(generative, x, missing, corrected=False)
    of_mean, _ = standard_errors(generative, found, x, missing)
    assert np.abs(of_mean).max() > 10


@pytest.mark.parametrize("way", WAYS)
def test_what_was_observed_is_returned_unchanged(batch, imputed, way):
    x, missing = batch(NUM)
    found, seen = imputed(way), np.asarray(~missing)
    for completed in (found.mean, *jnp.moveaxis(found.x, 1, 0)[:5]):
        np.testing.assert_array_equal(completed[seen], x[seen])
        assert np.all(np.isfinite(completed))


def test_all_missing_is_the_prior(generative):
    x, missing = jnp.full((NUM, 6), jnp.nan), jnp.ones((NUM, 6), bool)
    params = generative.posterior.args[0]
    variance = jnp.sum(params.loading**2, axis=1) + params.variance
    for way in (exactly, by_mcmc):
        draws = way(generative, x, missing).x.reshape(-1, 6)
        num = NUM * 100  # the exact ones; at least as many are independent of by_mcmc's
        assert jnp.abs((draws.mean(axis=0) - params.mean) / jnp.sqrt(variance / num)).max() < 4
        assert jnp.abs(draws.var(axis=0) / variance - 1).max() < 4 * np.sqrt(2 / num)


def test_a_batch_of_different_masks_is_one_trace(generative, batch):
    counted = chex.assert_max_traces(linear_gaussian.likelihood, n=TRACES_OF_MCMC + TRACES_OF_GIBBS)
    params = generative.posterior.args[0]
    model = LatentModel(generative.latent.prior, Partial(counted, params))
    x, missing = batch(NUM)
    assert len(np.unique(missing, axis=0)) > 4
    for share in (0.5, 0.2, 0.8):
        impute_by_mcmc(KEY, model, x + share, batch(NUM, share)[1], **FEW)
    for _ in range(2):
        impute_by_pseudo_gibbs(KEY, model, x, missing, guide=generative.posterior, **FEW)
        missing = missing[::-1]


def test_a_row_depends_on_its_own_mask_alone(generative, batch):
    """In batches of any size."""
    x, missing = batch(NUM)
    options = {**FEW, "guide": generative.posterior}
    other = missing.at[0].set(~missing[0])
    first = impute_by_pseudo_gibbs(KEY, generative.latent, x, missing, **options)
    again = impute_by_pseudo_gibbs(KEY, generative.latent, x, other, **options, batch_size=3)
    np.testing.assert_allclose(first.x[1:], again.x[1:], rtol=1e-4, atol=1e-4)
    assert not np.allclose(first.x[0], again.x[0])


def test_what_cannot_impute_says_so():
    density = of_density(dist.Normal(np.zeros(3), 1.0).to_event(1))
    with pytest.raises(InputError, match="neither a completion in closed form nor"):
        impute(KEY, density, np.zeros((1, 3)), np.ones((1, 3), bool))


@pytest.mark.parametrize("way", WAYS)
def test_observed_entries_without_density_are_one_line(generative, batch, way):
    x, missing = batch(NUM)
    x = jnp.where(missing, x, jnp.nan)
    with pytest.raises(InputError, match=r"x\[0\] (lies|holds observed entries) outside"):
        WAYS[way](generative, x, missing)


def test_more_imputations_than_draws_are_one_line(generative, batch):
    with pytest.raises(InputError, match="num_imputations is 9: expected 1 to 8"):
        impute_by_mcmc(KEY, generative.latent, *batch(2), **{**FEW, "num_imputations": 9})
