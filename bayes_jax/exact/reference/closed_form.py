"""Models whose evidence and posterior moments are known: what every estimator is tested on.

Two have closed forms (one of them multimodal), two are integrated by quadrature (one of them not
symmetric, where errors of sign cannot hide). All densities are normalised.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.tree_util import Partial
from jaxtyping import Array, Float, Num

from bayes_jax.exact import linear_gaussian as gaussian
from bayes_jax.exact import quadrature
from bayes_jax.exact.linear_gaussian import LinearGaussian
from bayes_jax.model import LatentModel

Observations = Num[Array | np.ndarray, "batch dim"]
LogEvidence = Float[Array, " batch"]
Moments = tuple[Float[Array, "batch latent"], Float[Array, "batch latent latent"]]


class Reference(NamedTuple):
    """A model and the truth about it. Draw observations with `bayes_jax.simulate`.

    Attributes:
        name: the key in `REFERENCES`.
        model: the model.
        log_evidence: x `[batch, dim]` -> log p(x) in nats, `[batch]`.
        posterior_moments: x `[batch, dim]` -> E[z | x] `[batch, latent]` and Cov[z | x]
            `[batch, latent, latent]`.
    """

    name: str
    model: LatentModel
    log_evidence: Callable[[Observations], LogEvidence]
    posterior_moments: Callable[[Observations], Moments]


def linear_gaussian(latent_dim: int = 2, dim: int = 5) -> Reference:
    """A linear decoder with Gaussian noise: the posterior is a correlated Gaussian.

    Args:
        latent_dim: number of latent dimensions.
        dim: number of observed dimensions.

    Returns:
        A reference in closed form.
    """
    params = LinearGaussian(
        loading=jax.random.normal(jax.random.key(1), (dim, latent_dim)),
        mean=jnp.linspace(-1.0, 1.0, dim),
        variance=jnp.linspace(0.3, 0.6, dim),
    )

    def moments(x):
        exact = gaussian.posterior(params, x)
        return exact.mean, exact.covariance_matrix

    return Reference(
        "linear_gaussian",
        gaussian.latent_model(params),
        jax.jit(jax.vmap(partial(gaussian.log_evidence, params))),
        jax.jit(jax.vmap(moments)),
    )


def mixture_prior() -> Reference:
    """A mixture of three Gaussians as p(z), a linear decoder with Gaussian noise: multimodal.

    Given the component this is a linear-Gaussian model, so p(x) and p(z | x) are mixtures over the
    three. The decoder sees one direction of a two-dimensional z only.

    Returns:
        A reference in closed form.
    """
    weights = jnp.array([0.5, 0.3, 0.2])
    loc = jnp.array([[-2.0, 0.0], [2.0, 1.0], [0.0, -3.0]])
    scale = jnp.array([[0.5, 0.7], [0.4, 0.5], [0.6, 0.4]])
    decoder = LinearGaussian(jnp.array([[0.3, 1.0], [0.6, 2.0]]), jnp.zeros(2), jnp.full(2, 0.8))
    prior = dist.MixtureSameFamily(
        dist.Categorical(probs=weights), dist.Normal(loc, scale).to_event(1)
    )

    def given_component(loc, scale, x):
        """log p(x | k) and the moments of p(z | x, k), with z = loc + scale * standard normal."""
        params = decoder._replace(
            loading=decoder.loading * scale, mean=decoder.loading @ loc + decoder.mean
        )
        exact = gaussian.posterior(params, x)
        covariance = scale[:, None] * exact.covariance_matrix * scale
        return gaussian.log_evidence(params, x), loc + scale * exact.mean, covariance

    def log_joint_and_moments(x):
        log_prob, means, covariances = jax.vmap(partial(given_component, x=x))(loc, scale)
        return jnp.log(weights) + log_prob, means, covariances

    def log_evidence(x):
        return jax.scipy.special.logsumexp(log_joint_and_moments(x)[0])

    def moments(x):
        log_joint, means, covariances = log_joint_and_moments(x)
        responsibilities = jax.nn.softmax(log_joint)
        mean = responsibilities @ means
        spread = jax.vmap(jnp.outer)(means - mean, means - mean)
        return mean, jnp.einsum("k,kij->ij", responsibilities, covariances + spread)

    return Reference(
        "mixture_prior",
        LatentModel(prior, Partial(gaussian.likelihood, decoder)),
        jax.jit(jax.vmap(log_evidence)),
        jax.jit(jax.vmap(moments)),
    )


def poisson() -> Reference:
    """Three counts with log rate = offset + slope * z: a skewed posterior in one dimension.

    Returns:
        A reference by quadrature.
    """
    params = (jnp.array([0.0, -1.0, 0.5]), jnp.array([1.0, 1.5, -0.3]))
    return _by_quadrature("poisson", 1, Partial(_poisson_likelihood, params))


def nonlinear_bernoulli() -> Reference:
    """Twelve binary pixels behind a fixed tanh network of a two-dimensional z: a curved posterior.

    Returns:
        A reference by quadrature.
    """
    key_hidden, key_bias, key_out = jax.random.split(jax.random.key(2), 3)
    params = (
        1.5 * jax.random.normal(key_hidden, (8, 2)),
        jax.random.normal(key_bias, (8,)),
        jax.random.normal(key_out, (12, 8)),
    )
    return _by_quadrature("nonlinear_bernoulli", 2, Partial(_tanh_likelihood, params))


def _poisson_likelihood(params, z) -> dist.Distribution:
    offset, slope = params
    return dist.Poisson(jnp.exp(offset + slope * z)).to_event(1)


def _tanh_likelihood(params, z) -> dist.Distribution:
    hidden, bias, out = params
    return dist.Bernoulli(logits=out @ jnp.tanh(hidden @ z + bias)).to_event(1)


def _by_quadrature(name, latent_dim, likelihood) -> Reference:
    prior = dist.Normal(jnp.zeros(latent_dim), jnp.ones(latent_dim)).to_event(1)
    model = LatentModel(prior, likelihood)

    def posterior_moments(x):
        grid = quadrature.posteriors(model, x)
        return grid.mean, grid.covariance

    return Reference(
        name, model, lambda x: quadrature.log_evidence(model, x).lower, posterior_moments
    )


#: name -> maker, for tests and benchmarks that run over all of them.
REFERENCES: dict[str, Callable[[], Reference]] = {
    "linear_gaussian": linear_gaussian,
    "mixture_prior": mixture_prior,
    "poisson": poisson,
    "nonlinear_bernoulli": nonlinear_bernoulli,
}
