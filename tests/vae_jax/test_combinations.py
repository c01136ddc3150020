"""Every head and every objective trains, and every engine takes what comes out."""

import itertools
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.stats import norm

import bayes_jax
from vae_jax import configs, training
from vae_jax.configs import (
    DataConfig,
    NetworkConfig,
    ObjectiveConfig,
    PosteriorConfig,
    PriorConfig,
    TrainConfig,
    VAEConfig,
)
from vae_jax.data.arrays import bits_per_dim, load
from vae_jax.systems import build

from .conftest import few

KEY = jax.random.key(0)
TRAIN = TrainConfig(num_epochs=5, batch_size=64, learning_rate=3e-3)
OPTIONS = {
    "beta": {"beta": 2.0, "num_warmup_steps": 20},
    "free_bits": {"free_nats": 0.2},
    "capacity": {"capacity": 5.0, "weight": 2.0, "num_warmup_steps": 20},
    "iwae": {"num_samples": 4},
    "stl": {"num_samples": 1},
    "dreg": {"num_samples": 4},
}


def trained(head, config=None):
    dataset = load(DataConfig("digits", head))
    config = config or VAEConfig(3, (32,))
    system = build("vae", config, dataset.spec)
    x = dataset.validation.astype(np.float32)
    start = training.initial_progress(KEY, system, jnp.asarray(dataset.train)).state
    before = training.evaluate(KEY, system, start, dataset.validation)
    result = training.fit(KEY, system, dataset.train, dataset.validation, TRAIN)
    after = training.evaluate(KEY, system, result.state, dataset.validation)
    return dataset, system.generative(result.state), before, after, x


def assert_gained(before, after, name="elbo"):
    gain = np.asarray(after[name] - before[name])
    assert gain.mean() > 4 * gain.std() / np.sqrt(len(gain))


def assert_higher(bound, elbo):
    slack = 4 * jnp.linalg.norm(bound.stderr_lower) + 4 * jnp.linalg.norm(elbo.stderr_lower)
    assert jnp.sum(bound.lower - elbo.lower) > -slack


def assert_bounded(model, x):
    elbo = bayes_jax.elbo(KEY, model.latent, x, guide=model.guide)
    assert_higher(bayes_jax.importance_bound(KEY, model.latent, x, guide=model.guide), elbo)


def assert_every_engine_takes(model, x):
    """Beside annealing and MCMC: tempered SMC, q*, the gaps and the certificate."""
    assert_annealed_and_sampled(model, x)
    options = {"guide": model.guide}
    elbo = bayes_jax.elbo(KEY, model.latent, x, num_samples=1000, **options)
    smc = bayes_jax.smc_evidence(KEY, model.latent, x, num_temperatures=20, **options)
    assert_higher(smc, elbo)
    gaps = bayes_jax.inference_gaps(
        KEY, model.latent, x, num_steps=50, num_temperatures=20, **options
    )
    assert np.all(np.isfinite(gaps.approximation + gaps.amortization))
    # Steps of q* from the guide can only help, up to noise.
    assert float(jnp.mean(gaps.amortization)) > -0.2
    certificate = bayes_jax.validate_annealing(
        KEY, model.latent, num_simulations=8, num_temperatures=20, **options
    )
    assert certificate.width > -4 * certificate.width_stderr


def assert_annealed_and_sampled(model, x):
    options = {"guide": model.guide, "num_chains": 8}
    elbo = bayes_jax.elbo(KEY, model.latent, x, guide=model.guide)
    annealed = bayes_jax.annealed_evidence(KEY, model.latent, x, num_temperatures=20, **options)
    assert_higher(annealed, elbo)
    draws = bayes_jax.sample_posterior(KEY, model.latent, x, num_samples=20, **options)
    assert bool(jnp.all(draws.valid))


@pytest.mark.slow
@pytest.mark.parametrize("head", sorted(configs.REPRESENTATIONS))
def test_every_head_trains_and_is_bounded_and_sampled(head):
    dataset, model, before, after, x = trained(head)
    assert_gained(before, after)
    assert_bounded(model, jnp.asarray(x[:4]))
    images = model.sample(KEY, 5)
    assert images.shape == (5, 64)
    if dataset.spec.representation in ("bits", "levels"):
        assert np.asarray(images).max() <= dataset.spec.white


def test_the_bounds_lie_below_log_p_of_a_sum_over_a_grid():
    """Which for three latent dimensions and a smooth decoder is log p(x) itself."""
    _, model, _, _, x = trained("bernoulli")
    x = jnp.asarray(x[:4])
    nodes = jnp.linspace(-5, 5, 41)
    z = jnp.stack(jnp.meshgrid(nodes, nodes, nodes), axis=-1).reshape(-1, 3)
    log_prior = jnp.sum(norm.logpdf(z), axis=1) + 3 * jnp.log(nodes[1] - nodes[0])

    def log_joint(z, log_prior):
        return log_prior + jax.vmap(model.latent.likelihood(z).log_prob)(x)

    exact = jax.nn.logsumexp(jax.jit(jax.vmap(log_joint))(z, log_prior), axis=0)
    for engine, most in ((bayes_jax.elbo, 5.0), (bayes_jax.importance_bound, 0.5)):
        bound = engine(KEY, model.latent, x, guide=model.guide)
        gap = np.mean(np.asarray(exact - bound.lower, np.float64))
        assert -4 * np.linalg.norm(bound.stderr_lower) / len(x) < gap < most


@pytest.mark.long
@pytest.mark.parametrize("head", sorted(configs.REPRESENTATIONS))
def test_every_engine_takes_every_head(head):
    _, model, _, _, x = trained(head)
    assert_annealed_and_sampled(model, jnp.asarray(x[:4]))


def test_bits_of_a_level_are_comparable_across_heads():
    """A density's bits bound those of the discrete image from above; uniform levels have 4.09."""
    bits = {}
    for head in ("categorical", "discretized_logistic", "gaussian"):
        dataset, _, _, after, _ = trained(head)
        bits[head] = float(
            bits_per_dim(
                np.mean(after["elbo"]),
                dim=dataset.spec.dim,
                observation=head,
                num_levels=dataset.num_levels,
            )
        )
    assert all(1 < value < np.log2(17) for value in bits.values())


POSTERIORS = typing.get_args(configs.PosteriorName)
PAIRS = list(itertools.product(POSTERIORS, typing.get_args(configs.PriorName)))
# Each family is in a quick form, alone and once beside another that is no default.
QUICK = [pair for pair in PAIRS if "mean_field" in pair or "standard_normal" in pair]
QUICK += [("full_rank", "vamp"), ("iaf", "flow")]


def of_parts(posterior, prior):
    return VAEConfig(
        3,
        (32,),
        posterior=PosteriorConfig(posterior, **few(posterior)),
        prior=PriorConfig(prior, **few(prior)),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("posterior", "prior"),
    [pytest.param(*pair, marks=() if pair in QUICK else pytest.mark.long) for pair in PAIRS],
)
def test_every_posterior_and_prior_trains_and_is_bounded(posterior, prior):
    _, model, before, after, x = trained("bernoulli", config=of_parts(posterior, prior))
    assert_gained(before, after)
    assert_bounded(model, jnp.asarray(x[:4]))
    assert model.sample(KEY, 5).shape == (5, 64)


# The quick form takes a mixture of posteriors.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("posterior", "prior"),
    [
        pytest.param(*pair, marks=() if pair == ("mean_field", "vamp") else pytest.mark.long)
        for pair in PAIRS
    ],
)
def test_every_engine_takes_every_posterior_and_prior(posterior, prior):
    _, model, _, _, x = trained("bernoulli", config=of_parts(posterior, prior))
    assert_every_engine_takes(model, jnp.asarray(x[:4]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("conv", "bernoulli"),
        pytest.param("conv", "logistic_mixture", marks=pytest.mark.long),
        pytest.param("residual", "bernoulli", marks=pytest.mark.long),
        pytest.param("residual", "logistic_mixture", marks=pytest.mark.long),
    ],
)
def test_every_network_trains_and_is_bounded(name, head):
    network = NetworkConfig(name, **few(name))
    config = VAEConfig(3, (32,), network=network)
    _, model, before, after, x = trained(head, config=config)
    assert_gained(before, after)
    assert_bounded(model, jnp.asarray(x[:4]))
    assert model.sample(KEY, 5).shape == (5, 64)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "posterior"),
    [("mlp", "coupling"), pytest.param("conv", "mean_field", marks=pytest.mark.long)],
)
def test_two_levels_train_and_stay_a_latent_model(name, posterior):
    """The prior is N(0, I) over both, so every engine takes them."""
    network = NetworkConfig(name, top_dim=1, **few(name))
    config = VAEConfig(
        3, (32,), network=network, posterior=PosteriorConfig(posterior, **few(posterior))
    )
    _, model, before, after, x = trained("bernoulli", config=config)
    z = jax.random.normal(KEY, (3,))
    assert model.latent.prior.log_prob(z) == pytest.approx(float(jnp.sum(norm.logpdf(z))), rel=1e-5)
    assert_gained(before, after)
    assert_bounded(model, jnp.asarray(x[:4]))
    assert_annealed_and_sampled(model, jnp.asarray(x[:4]))


@pytest.mark.parametrize("name", ["mlp", pytest.param("residual", marks=pytest.mark.long)])
def test_half_precision_is_training_s_alone(name):
    """Nearly as good an ELBO; what is kept, and all that inference sees, is float32."""
    elbo = {}
    for dtype in typing.get_args(configs.ComputeDtype):
        config = VAEConfig(3, (32,), network=NetworkConfig(name, dtype=dtype, **few(name)))
        dataset, model, _, after, x = trained("bernoulli", config=config)
        elbo[dtype] = np.mean(after["elbo"])
        one = jnp.asarray(x[0])
        traced = str(jax.make_jaxpr(lambda z, m=model: m.latent.likelihood(z).mean)(jnp.ones(3)))
        assert "bf16" not in traced
        assert "bf16" not in str(jax.make_jaxpr(lambda x, m=model: m.guide(x).mean)(one))
        system = build("vae", config, dataset.spec)
        state = jax.eval_shape(system.init, KEY, x)
        in_half = {
            function: "bf16" in jax.jit(function).lower(state, KEY, x).as_text()
            for function in (system.evaluate, system.step)
        }
        assert in_half == {system.evaluate: False, system.step: dtype == "bfloat16"}
    assert abs(elbo["float32"] - elbo["bfloat16"]) < 0.3
    assert elbo["float32"] != elbo["bfloat16"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "posterior"),
    [
        pytest.param(name, posterior, marks=() if posterior == "mean_field" else pytest.mark.long)
        for name, posterior in itertools.product(typing.get_args(configs.Objective), POSTERIORS)
        if posterior == "mean_field" or name not in ("free_bits", "capacity")  # of closed forms
    ],
)
def test_every_objective_trains_every_posterior(name, posterior):
    objective = ObjectiveConfig(name, **OPTIONS.get(name, {}))
    of_posterior = PosteriorConfig(posterior, **few(posterior))
    config = VAEConfig(3, (32,), objective, posterior=of_posterior)
    _, _, before, after, _ = trained("bernoulli", config=config)
    assert_gained(before, after, "objective")


def test_a_warm_up_is_over_when_a_model_is_evaluated():
    """Its first step sees a tenth of the KL, its validation all of it."""
    dataset = load(DataConfig("digits", "bernoulli"))
    objective = ObjectiveConfig("beta", beta=2.0, num_warmup_steps=10)
    system = build("vae", VAEConfig(3, (32,), objective), dataset.spec)
    state = jax.jit(system.init)(KEY, jnp.asarray(dataset.train))
    step = jax.jit(system.step)
    batch = jnp.asarray(dataset.train[:32], jnp.float32)
    for beta in (0.2, 0.4, 0.6):
        state, metrics = step(state, KEY, batch)
        penalty = metrics["reconstruction"] - metrics["objective"]
        np.testing.assert_allclose(penalty, beta * metrics["kl"], rtol=1e-3, atol=1e-4)
    whole = jax.jit(system.evaluate)(state, KEY, batch)
    np.testing.assert_allclose(
        whole["reconstruction"] - whole["objective"], 2 * whole["kl"], rtol=1e-4, atol=1e-3
    )
