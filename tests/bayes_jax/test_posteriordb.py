"""Posteriors of posteriordb, by NumPyro programs: means as in ten long reference chains."""

import json
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import pytest
from numpyro.distributions import constraints
from numpyro.infer.util import initialize_model

from bayes_jax import diagnose, sample_batch

NUM_CHAINS = 16


def eight_schools(data):
    sigma, y = data["sigma"], data["y"]
    trans = numpyro.sample("theta_trans", dist.Normal(0, 1).expand([len(y)]).to_event(1))
    mu = numpyro.sample("mu", dist.Normal(0, 5))
    tau = numpyro.sample("tau", dist.HalfCauchy(5))
    theta = numpyro.deterministic("theta", mu + tau * trans)
    numpyro.sample("y", dist.Normal(theta, sigma).to_event(1), obs=y)


def kidscore_interaction(data):
    beta = numpyro.sample("beta", dist.ImproperUniform(constraints.real, (), (4,)))
    sigma = numpyro.sample("sigma", dist.HalfCauchy(2.5))
    school, iq = data["mom_hs"], data["mom_iq"]
    mean = beta[0] + beta[1] * school + beta[2] * iq + beta[3] * school * iq
    numpyro.sample("y", dist.Normal(mean, sigma).to_event(1), obs=data["kid_score"])


def blr(data):
    beta = numpyro.sample("beta", dist.Normal(0, 10).expand([data["X"].shape[1]]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfNormal(10))
    numpyro.sample("y", dist.Normal(data["X"] @ beta, sigma).to_event(1), obs=data["y"])


def autoregressive(data):
    y, order = data["y"], int(data["K"])
    alpha = numpyro.sample("alpha", dist.Normal(0, 10))
    beta = numpyro.sample("beta", dist.Normal(0, 10).expand([order]).to_event(1))
    sigma = numpyro.sample("sigma", dist.HalfCauchy(2.5))
    lagged = jnp.stack([y[order - lag : len(y) - lag] for lag in range(1, order + 1)], axis=1)
    numpyro.sample("y", dist.Normal(alpha + lagged @ beta, sigma).to_event(1), obs=y[order:])


def gaussian_process(data):
    rho = numpyro.sample("rho", dist.Gamma(25, 4))
    alpha = numpyro.sample("alpha", dist.HalfNormal(2))
    sigma = numpyro.sample("sigma", dist.HalfNormal(1))
    square = (data["x"][:, None] - data["x"]) ** 2
    covariance = alpha**2 * jnp.exp(-square / (2 * rho**2)) + sigma * jnp.eye(len(square))
    normal = dist.MultivariateNormal(jnp.zeros(len(square)), covariance)
    numpyro.sample("y", normal, obs=data["y"])


def gaussian_mixture(data):
    """The ordered means are flat but for the factor: normal(0, 2) on each."""
    mu = numpyro.sample("mu", dist.ImproperUniform(constraints.ordered_vector, (), (2,)))
    numpyro.factor("mu_prior", jnp.sum(dist.Normal(0, 2).log_prob(mu)))
    sigma = numpyro.sample("sigma", dist.HalfNormal(2).expand([2]).to_event(1))
    theta = numpyro.sample("theta", dist.Beta(5, 5))
    mixing = dist.Categorical(probs=jnp.stack([theta, 1 - theta]))
    component = dist.Normal(mu, sigma)
    mixture = dist.MixtureSameFamily(mixing, component).expand(data["y"].shape).to_event(1)
    numpyro.sample("y", mixture, obs=data["y"])


def kilpisjarvi(data):
    """Years are not centred: slope and intercept are correlated to 0.99999."""
    alpha = numpyro.sample("alpha", dist.Normal(data["pmualpha"], data["psalpha"]))
    beta = numpyro.sample("beta", dist.Normal(data["pmubeta"], data["psbeta"]))
    sigma = numpyro.sample("sigma", dist.ImproperUniform(constraints.positive, (), ()))
    numpyro.sample("y", dist.Normal(alpha + beta * data["x"], sigma).to_event(1), obs=data["y"])


POSTERIORS = {
    "eight_schools-eight_schools_noncentered": eight_schools,
    "kidiq-kidscore_interaction": kidscore_interaction,
    "sblrc-blr": blr,
    "arK-arK": autoregressive,
    "gp_pois_regr-gp_regr": gaussian_process,
    "low_dim_gauss_mix-low_dim_gauss_mix": gaussian_mixture,
    "kilpisjarvi_mod-kilpisjarvi": kilpisjarvi,
}
QUICK = {"eight_schools-eight_schools_noncentered", "arK-arK", "kilpisjarvi_mod-kilpisjarvi"}


def read_data(folder, name):
    with zipfile.ZipFile(folder / "data" / f"{name.split('-')[0]}.json.zip") as archive:
        raw = json.loads(archive.read(archive.namelist()[0]))
    return {key: np.asarray(value, np.float64) for key, value in raw.items()}


def by_name(sites) -> dict:
    """posteriordb's names, which count from 1, and draws `[chain, draw]`."""
    found = {}
    for site, draws in sites.items():
        if draws.ndim == 2:
            found[site] = draws
        else:
            found |= {f"{site}[{i + 1}]": draws[..., i] for i in range(draws.shape[-1])}
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in POSTERIORS],
)
def test_means_are_those_of_the_reference(data_dir, name):
    """Within 4 combined Monte Carlo standard errors, in double precision as Stan's."""
    folder = data_dir / "posteriordb"
    with jax.enable_x64(True):
        data = jax.tree.map(jnp.asarray, read_data(folder, name))
        data = {key: int(value) if key == "K" else value for key, value in data.items()}
        keys = jax.random.split(jax.random.key(0), NUM_CHAINS)
        info = initialize_model(keys, POSTERIORS[name], model_args=(data,))
        draws = sample_batch(
            jax.random.key(1),
            lambda z, _: -info.potential_fn(z),
            jnp.zeros(1),
            jax.tree.map(lambda leaf: leaf[None], info.param_info.z),
            num_warmup=1000,
            num_samples=1000,
        )
        sites = jax.vmap(jax.vmap(info.postprocess_fn))(jax.tree.map(lambda z: z[0], draws.z))
        draws_by_name = by_name(sites)
        reference = json.loads((folder / "mean_value" / f"{name}.json").read_text())
        names = reference["names"]
        z = jnp.stack([draws_by_name[site] for site in names], axis=-1)[None]
        found = diagnose(draws._replace(z=z))
    error = np.hypot(found.mcse_mean[0], reference["mcse_mean"])
    difference = np.asarray(z[0]).mean(axis=(0, 1)) - reference["mean_value"]
    assert np.max(np.abs(difference) / error) < 4, dict(zip(names, difference / error, strict=True))
    # Errors small enough that a wrong model would be seen.
    assert np.max(np.asarray(found.rhat)) < 1.01
    assert np.all(np.asarray(found.mcse_mean)[0] < 0.1 * np.std(np.asarray(z)[0], axis=(0, 1)))
