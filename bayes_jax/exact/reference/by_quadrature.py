"""References by quadrature: nonlinear decoders of a one- or two-dimensional z.

Each decoder is a small fixed tanh network with biases, so that no posterior is symmetric and an
error of sign cannot hide.
"""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from jax.tree_util import Partial

from bayes_jax.errors import InputError
from bayes_jax.exact import quadrature
from bayes_jax.exact.lattice_posterior import LatticePosterior
from bayes_jax.exact.reference.base import Reference
from bayes_jax.model import LatentModel


def poisson() -> Reference:
    """Three counts with log rate = offset + slope * z: a skewed posterior in one dimension.

    Returns:
        A reference by quadrature.
    """
    params = (jnp.array([0.0, -1.0, 0.5]), jnp.array([1.0, 1.5, -0.3]))
    return _by_quadrature("poisson", 1, Partial(_log_linear_poisson, params))


def nonlinear_bernoulli(latent_dim: int = 2) -> Reference:
    """Twelve binary pixels behind a tanh network: weakly informative, curved in two dimensions.

    Args:
        latent_dim: 1 or 2.

    Returns:
        A reference by quadrature.

    Raises:
        InputError: for another number of dimensions.
    """
    params = _network(latent_dim, 12, seeds=(3, 2), num_hidden=8, out_scale=1.0)
    return _nonlinear("bernoulli", latent_dim, Partial(_bernoulli, params))


def nonlinear_gaussian(latent_dim: int = 2) -> Reference:
    """Three measurements with noise 0.5 behind a tanh network: two modes for many x.

    Args:
        latent_dim: 1 or 2.

    Returns:
        A reference by quadrature.

    Raises:
        InputError: for another number of dimensions.
    """
    params = _network(latent_dim, 3, seeds=(0, 3), num_hidden=4, out_scale=0.7)
    return _nonlinear("gaussian", latent_dim, Partial(_gaussian, params))


def nonlinear_poisson(latent_dim: int = 2) -> Reference:
    """Five counts behind a tanh network: a skewed posterior.

    Args:
        latent_dim: 1 or 2.

    Returns:
        A reference by quadrature.

    Raises:
        InputError: for another number of dimensions.
    """
    params = _network(latent_dim, 5, seeds=(3, 2), num_hidden=5, out_scale=0.7)
    return _nonlinear("poisson", latent_dim, Partial(_poisson, params))


def _network(latent_dim, dim, *, seeds, num_hidden, out_scale):
    """Fixed weights: those of the first seed for one latent dimension, of the second for two."""
    if latent_dim not in (1, 2):
        raise InputError(f"latent_dim is {latent_dim}: expected 1 or 2")
    key_hidden, key_bias, key_out = jax.random.split(jax.random.key(seeds[latent_dim - 1]), 3)
    return (
        1.5 * jax.random.normal(key_hidden, (num_hidden, latent_dim)),
        jax.random.normal(key_bias, (num_hidden,)),
        out_scale * jax.random.normal(key_out, (dim, num_hidden)),
    )


def _outputs(params, z):
    hidden, bias, out = params
    return out @ jnp.tanh(hidden @ z + bias)


def _bernoulli(params, z) -> dist.Distribution:
    return dist.Bernoulli(logits=_outputs(params, z)).to_event(1)


def _gaussian(params, z) -> dist.Distribution:
    return dist.Normal(_outputs(params, z), 0.5).to_event(1)


def _poisson(params, z) -> dist.Distribution:
    return dist.Poisson(jnp.exp(_outputs(params, z))).to_event(1)


def _log_linear_poisson(params, z) -> dist.Distribution:
    offset, slope = params
    return dist.Poisson(jnp.exp(offset + slope * z)).to_event(1)


def _nonlinear(family, latent_dim, likelihood) -> Reference:
    suffix = "_1d" if latent_dim == 1 else ""
    return _by_quadrature(f"nonlinear_{family}{suffix}", latent_dim, likelihood)


def _by_quadrature(name, latent_dim, likelihood) -> Reference:
    prior = dist.Normal(jnp.zeros(latent_dim), jnp.ones(latent_dim)).to_event(1)
    model = LatentModel(prior, likelihood)

    def posterior_moments(x):
        grid = quadrature.posteriors(model, x)
        return grid.mean, grid.covariance

    return Reference(
        name,
        model,
        Partial(LatticePosterior, model),
        # The whole lattice, so that evidence and moments share one compilation.
        lambda x: quadrature.posteriors(model, x).log_evidence,
        posterior_moments,
    )
