"""Imputations of a linear-Gaussian model by every way, against its closed form."""

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
from bayes_jax.imputation import impute, impute_by_mcmc, impute_by_pseudo_gibbs

KEY = jax.random.key(0)
NUM = 8
CHAINS = {"num_chains": 8, "num_samples": 400, "num_imputations": 800}
FEW = {"num_chains": 2, "num_samples": 4, "num_imputations": 3, "num_warmup": 4}


def by_mcmc(generative, x, missing):
    return impute_by_mcmc(KEY, generative.latent, x, missing, **CHAINS, num_warmup=200)


def by_pseudo_gibbs(generative, x, missing):
    """With the exact posterior as guide it is Gibbs sampling."""
    guide = generative.posterior
    return impute_by_pseudo_gibbs(KEY, generative.latent, x, missing, guide=guide, **CHAINS)


def wide(posterior, x):
    """A guide that is wrong: shifted, and half as wide again."""
    exact = posterior(x)
    return dist.MultivariateNormal(exact.loc + 0.3, scale_tril=1.5 * exact.scale_tril)


def by_metropolis(generative, x, missing, *, corrected=True):
    guide = Partial(wide, generative.posterior)
    return impute_by_pseudo_gibbs(
        KEY, generative.latent, x, missing, guide=guide, corrected=corrected, **CHAINS
    )


SAMPLERS = {"mcmc": by_mcmc, "pseudo-Gibbs": by_pseudo_gibbs, "Metropolis": by_metropolis}


def standard_errors(generative, found, x, missing):
    """How far means of z and x lie from the closed form, and covariances of z, in their errors."""
    mean, covariance = latent_moments(generative, x, missing)
    z = np.asarray(found.z, np.float64)
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    num = effective(found.z)
    of_mean = (z.mean(axis=(1, 2)) - mean) / np.sqrt(variance / num)
    pooled = z.reshape(NUM, -1, z.shape[-1])
    estimate = np.stack([np.cov(draws.T) for draws in pooled])
    # Squares of an AR(1) chain have fewer effective draws than the chain: half as many at worst.
    products = variance[:, :, None] * variance[:, None, :] + covariance**2
    of_covariance = (estimate - covariance) / np.sqrt(2 * products / num.min(axis=1)[:, None, None])
    return of_mean, of_covariance


def latent_moments(generative, x, missing):
    params = generative.posterior.args[0]
    mean, covariance = [], []
    for row, mask in zip(np.asarray(x, np.float64), np.asarray(missing), strict=True):
        loading, residual = np.asarray(params.loading)[~mask], (row - params.mean)[~mask]
        precision = np.eye(2) + loading.T @ (loading / np.asarray(params.variance)[~mask, None])
        covariance.append(np.linalg.inv(precision))
        mean.append(covariance[-1] @ loading.T @ (residual / params.variance[~mask]))
    return np.stack(mean), np.stack(covariance)


@jax.jit
def _effective(z):
    return jax.vmap(jax.vmap(ess_mean))(jnp.moveaxis(z, -1, 1))


def effective(z):
    return np.asarray(_effective(z), np.float64)


@pytest.mark.parametrize("way", SAMPLERS)
def test_samplers_agree_with_the_closed_form(generative, batch, way):
    x, missing = batch(NUM)
    found = SAMPLERS[way](generative, jnp.where(missing, jnp.nan, x), missing)
    of_mean, of_covariance = standard_errors(generative, found, x, missing)
    assert np.abs(of_mean).max() < 4
    assert np.abs(of_covariance).max() < 4
    exact = jax.vmap(lambda x, missing: generative.completion(x, missing).mean)(x, missing)
    # Given z the mean of x is linear in z: its error is that of z, times the loading.
    errors = np.linalg.norm(generative.posterior.args[0].loading, axis=1).max() * 4
    spread = np.sqrt(np.trace(latent_moments(generative, x, missing)[1], axis1=1, axis2=2))
    bound = errors * spread / np.sqrt(effective(found.z).min(axis=1))
    assert np.all(np.abs(found.mean - exact) <= bound[:, None])


def test_a_wrong_guide_is_seen_where_nothing_corrects_it(generative, batch):
    x, missing = batch(NUM)
    found = by_metropolis(generative, x, missing, corrected=False)
    of_mean, _ = standard_errors(generative, found, x, missing)
    assert np.abs(of_mean).max() > 10


@pytest.mark.parametrize("way", ["exact", *SAMPLERS])
def test_what_was_observed_is_returned_unchanged(generative, batch, way):
    x, missing = batch(NUM)
    unknown = jnp.where(missing, jnp.nan, x)
    sampler = {"exact": lambda g, x, missing: impute(KEY, g, x, missing), **SAMPLERS}[way]
    found = sampler(generative, unknown, missing)
    for completed in (found.mean, *jnp.moveaxis(found.x, 1, 0)[:5]):
        np.testing.assert_array_equal(completed[~missing], x[~missing])
        assert np.all(np.isfinite(completed))
    # Where something is missing, no two imputations are alike.
    assert jnp.std(found.x, axis=1)[missing].min() > 0.05


def test_imputations_vary_as_the_closed_form_does(generative, batch):
    x, missing = batch(2)
    found = by_mcmc(generative, jnp.tile(x, (4, 1)), jnp.tile(missing, (4, 1)))
    for row, mask, completed in zip(x, missing, found.x, strict=False):
        law = generative.completion(row, mask).law
        variance = law.variance[mask]
        draws = np.asarray(completed[:, mask], np.float64)
        ratio = draws.var(axis=0) / variance
        assert np.abs(ratio - 1).max() < 5 * np.sqrt(2 / 400)  # half of them count as independent


def test_all_missing_is_the_prior(generative):
    x, missing = jnp.full((1, 6), jnp.nan), jnp.ones((1, 6), bool)
    params = generative.posterior.args[0]
    covariance = params.loading @ params.loading.T + jnp.diag(params.variance)
    for found in (
        impute(KEY, generative, x, missing, num_imputations=4000),
        impute_by_mcmc(KEY, generative.latent, x, missing, num_imputations=4000),
    ):
        error = (found.x[0].mean(axis=0) - params.mean) / jnp.sqrt(jnp.diag(covariance) / 2000)
        assert jnp.abs(error).max() < 4
        assert jnp.abs(jnp.cov(found.x[0].T) - covariance).max() < 0.2 * jnp.max(covariance)


def test_a_batch_of_different_masks_is_one_trace(generative, batch):
    @chex.assert_max_traces(n=6)
    def counted(likelihood, z):
        return likelihood(z)

    model = LatentModel(
        generative.latent.prior, Partial(Partial(counted), generative.latent.likelihood)
    )
    x, missing = batch(3)
    impute_by_mcmc(KEY, model, x, missing, **FEW)
    first = counted_traces(counted)
    for share in (0.2, 0.8):
        impute_by_mcmc(jax.random.key(1), model, x + 1, batch(3, share)[1], **FEW)
    assert counted_traces(counted) == first


def test_different_masks_do_not_disturb_each_other(generative, batch):
    """A row's result depends on its own mask and index alone, in batches of any size."""
    x, missing = batch(4)
    whole = impute_by_mcmc(KEY, generative.latent, x, missing, **FEW)
    other = impute_by_mcmc(
        KEY, generative.latent, x, missing.at[0].set(~missing[0]), **FEW, batch_size=2
    )
    np.testing.assert_allclose(whole.x[1:], other.x[1:], rtol=1e-3, atol=1e-3)


def test_what_cannot_impute_says_so():
    density = of_density(dist.Normal(np.zeros(3), 1.0).to_event(1))
    with pytest.raises(InputError, match="neither a completion in closed form nor"):
        impute(KEY, density, np.zeros((1, 3)), np.ones((1, 3), bool))


@pytest.mark.parametrize("way", ["exact", *SAMPLERS])
def test_observed_entries_without_density_are_one_line(generative, batch, way):
    x, missing = batch(NUM)
    x = jnp.where(missing, x, jnp.nan)
    sampler = {"exact": lambda g, x, missing: impute(KEY, g, x, missing), **SAMPLERS}[way]
    with pytest.raises(InputError, match=r"x\[0\] (lies|holds observed entries) outside"):
        sampler(generative, x, missing)


def test_more_imputations_than_draws_are_one_line(generative, batch):
    with pytest.raises(InputError, match="num_imputations is 9: expected 1 to 8"):
        impute_by_mcmc(KEY, generative.latent, *batch(2), **{**FEW, "num_imputations": 9})
