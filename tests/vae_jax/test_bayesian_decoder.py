"""A posterior over a decoder's weights: its moments, its members, the average and their dispute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import bayes_jax
from bayes_jax.ensemble import disagreement
from bayes_jax.errors import InputError
from bayes_jax.estimates import log_mean_exp
from vae_jax import training
from vae_jax.configs import (
    BayesianDecoderConfig,
    ConfigError,
    DataConfig,
    ObjectiveConfig,
    ObservationSpec,
    TrainConfig,
    VAEConfig,
    WeightPosteriorConfig,
)
from vae_jax.data.arrays import load
from vae_jax.systems import build
from vae_jax.systems.bayesian_decoder import posterior_scale
from vae_jax.systems.gradient import GradientState
from vae_jax.weight_choice import choose_weights

KEY = jax.random.key(5)
BITS = ObservationSpec(6, "bernoulli")


def make(spec=BITS, hidden_dims=(8,), **weights):
    config = WeightPosteriorConfig(**weights)
    return build("bayesian_decoder", BayesianDecoderConfig(2, hidden_dims, weights=config), spec)


def bits(num):
    return jnp.asarray(np.random.default_rng(0).random((num, 6)) < 0.4, jnp.float32)


# --- the posterior of the weights ----------------------------------------------------------------

NUM, BATCH, NOISE = 60, 20, 0.5
LINEAR = ObservationSpec(3, "gaussian_fixed", fixed_scale=NOISE)
WEIGHTS = {
    "num_warmup_epochs": 100,
    "prior_scale": 0.3,
    "temperature": 1.0,
    "step_size": 0.1,
    "friction": 2.0,
}


class Conjugate:
    """A linear decoder under an encoder that stands still: the bound is quadratic in the weights.

    E_q log N(x; W z + b, s^2) has for each pixel the precision sum_i E[(z, 1) (z, 1)^T] / s^2.
    """

    def __init__(self):
        rng = np.random.default_rng(1)
        z = rng.normal(size=(NUM, 2))
        x = z @ rng.normal(size=(2, 3)) + 0.5 + NOISE * rng.normal(size=(NUM, 3))
        self.x = jnp.asarray(x, jnp.float32)
        self.system = make(LINEAR, (), **WEIGHTS)
        self.start = self.system.init(KEY, self.x)
        guide = self.system.generative(self.start).guide
        loc, variance = jax.vmap(lambda x: (guide(x).mean, guide(x).variance))(self.x)
        features = np.column_stack([loc, np.ones(NUM)])
        second = features.T @ features + np.diag([*np.sum(variance, axis=0), 0.0])
        prior = np.array([2, 2, 1]) / WEIGHTS["prior_scale"] ** 2  # two inputs of each kernel
        self.covariance = np.linalg.inv(second / NOISE**2 + np.diag(prior))
        self.mean = self.covariance @ features.T @ x / NOISE**2
        # At the end of the epochs that look for the mode.
        self.warm = jax.jit(lambda state: self.walk(state, KEY, 300))(self.at_mode())

    def at_mode(self):
        mode = {"kernel": jnp.float32(self.mean[:2]), "bias": jnp.float32(self.mean[2])}
        params = {"params": {"output": mode}}
        return self.start._replace(weights=self.start.weights._replace(params=params))

    def walk(self, state, key, num_steps):
        """Steps on random batches, at learning rate 0."""

        def one_step(state, key):
            key_rows, key_step = jax.random.split(key)
            rows = jax.random.randint(key_rows, (BATCH,), 0, NUM)
            return self.system.step(state, key_step, self.x[rows], learning_rate=0.0)

        return jax.lax.scan(one_step, state, jax.random.split(key, num_steps))[0]


def flat(params):
    """`[..., input, pixel]`, the bias last."""
    output = params["params"]["output"]
    return np.concatenate([output["kernel"], output["bias"][..., None, :]], axis=-2)


@pytest.fixture(scope="module")
def conjugate():
    return Conjugate()


@pytest.mark.slow
def test_weights_are_drawn_from_the_conjugate_posterior(conjugate):
    def drawn(key):
        return conjugate.walk(conjugate.warm, key, 600)

    num = 500
    states = jax.jit(jax.vmap(drawn))(jax.random.split(KEY, num))
    draws = flat(states.weights.params)
    variance = np.diag(conjugate.covariance)[:, None]
    stderr = np.sqrt(variance / num)
    assert np.all(np.abs(draws.mean(0) - conjugate.mean) < 4.5 * stderr)
    ratio = draws.var(0) / variance
    sampling = 4 * np.sqrt(2 / num)
    heat = WEIGHTS["step_size"] * NUM / BATCH / (2 * WEIGHTS["friction"])  # of the batches, at most
    assert np.all((1 - sampling < ratio) & (ratio < 1 + heat + sampling))
    assert 1 - sampling / 3 < ratio.mean() < 1 + heat + sampling / 3  # nine of them


def test_the_scale_is_that_of_the_curvature_of_each_weight(conjugate):
    """Against gradients of single examples, whose mean square it estimates."""

    def gradient(key, x):
        state = conjugate.at_mode()
        guide = conjugate.system.generative(state).guide
        z = jnp.append(guide(x).sample(key), 1.0)
        return jnp.outer(z, x - conjugate.mean.T @ z) / NOISE**2

    keys = jax.random.split(KEY, (200, NUM))
    each = jax.vmap(jax.vmap(gradient, (0, 0)), (0, None))(keys, conjugate.x)
    prior = np.array([2, 2, 1])[:, None] / WEIGHTS["prior_scale"] ** 2
    # The mean is left out: at the mode the prior's gradient cancels it.
    expected = (NUM * np.var(each, axis=(0, 1)) + prior) ** -0.5
    config = WeightPosteriorConfig(**WEIGHTS)
    scale = flat(posterior_scale(conjugate.warm, config, batch_size=BATCH))
    np.testing.assert_allclose(scale, expected, rtol=0.15)  # 300 steps of nine squares


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_laplace_draws_around_the_mode_and_stays_there(conjugate, temperature):
    config = {**WEIGHTS, "name": "laplace", "temperature": temperature, "num_members": 2}
    system = make(LINEAR, (), **config)
    warm = conjugate.warm._replace(
        members=jax.tree.map(lambda leaf: leaf[:2], conjugate.warm.members)
    )

    def drawn(key):
        return system.step(warm, key, conjugate.x[:BATCH], learning_rate=0.0)[0]

    num = 2000
    states = jax.jit(jax.vmap(drawn))(jax.random.split(KEY, num))
    draws = flat(states.members)[:, 0]
    scale = flat(posterior_scale(warm, WeightPosteriorConfig(**config), batch_size=BATCH))
    assert np.all(np.abs(draws.mean(0) - conjugate.mean) < 4 * scale * np.sqrt(temperature / num))
    expected = temperature * scale**2
    np.testing.assert_allclose(draws.var(0) / expected, 1, atol=4 * np.sqrt(2 / num))
    np.testing.assert_array_equal(flat(states.weights.params)[0], flat(warm.weights.params))


# --- members -------------------------------------------------------------------------------------


def test_a_draw_is_kept_every_few_epochs_and_the_oldest_is_overwritten():
    """Two steps an epoch; two epochs of warm-up, and two for each of three members."""
    system = make(num_members=3, num_warmup_epochs=2, num_epochs_between=2)
    x = bits(4)
    state = system.init(KEY, x)
    step = jax.jit(system.step)
    written, num_drawn, heat = [], [], []
    for number in range(4 + 16):
        new, metrics = step(state, jax.random.fold_in(KEY, number), x[:2])
        assert jax.tree.map(jnp.shape, new) == jax.tree.map(jnp.shape, state)
        before, after = (np.asarray(jax.tree.leaves(one.members)[0]) for one in (state, new))
        (slot,) = np.flatnonzero(np.any(before != after, axis=1))
        np.testing.assert_array_equal(after[slot], jax.tree.leaves(new.weights.params)[0])
        written.append(int(slot))
        num_drawn.append(int(new.num_drawn))
        heat.append(float(metrics["heat"]))
        state = new
    assert written == 8 * [0] + 4 * [1] + 4 * [2] + 4 * [0]
    assert num_drawn == 8 * [1] + 4 * [2] + 8 * [3]
    assert max(heat[:4]) == 0 < min(heat[4:])


@pytest.fixture(scope="module")
def drawn():
    """A system of four members, three of them drawn, and its state."""
    system = make(num_members=4, num_warmup_epochs=1, num_epochs_between=1, step_size=0.5)
    x = bits(40)
    state, step = system.init(KEY, x), jax.jit(system.step)
    for number in range(8 * 4):
        state, _ = step(state, jax.random.fold_in(KEY, number), x[number % 4 * 5 :][:5])
    assert int(state.num_drawn) == 3
    return system, state


def vae_of(state, weights):
    """The plain VAE of one member."""
    system = build("vae", VAEConfig(2, (8,)), BITS)
    return system.generative(GradientState(state.rest.params | {"decoder": weights}, ()))


def test_the_evidence_of_the_ensemble_is_the_average_over_its_members(drawn):
    """With the same draws of z, one by one: the first member stands twice until all are drawn."""
    system, state = drawn
    x = bits(9)
    model = system.generative(state)
    found = bayes_jax.importance_bound(KEY, model.latent, x, guide=model.guide).lower
    each = []
    for index in (0, 1, 2, 0):
        one = vae_of(state, jax.tree.map(lambda leaf, index=index: leaf[index], state.members))
        each.append(bayes_jax.importance_bound(KEY, one.latent, x, guide=one.guide).lower)
    np.testing.assert_allclose(found, log_mean_exp(jnp.stack(each, axis=1)), rtol=1e-5)
    apart = disagreement(KEY, model.latent, x, guide=model.guide, num_samples=50)
    np.testing.assert_allclose(apart.log_evidence, np.stack(each, axis=1), rtol=1e-5)
    np.testing.assert_allclose(apart.predictive, found, rtol=1e-5)
    assert np.max(np.std(each, axis=0)) > 0.1


def test_one_member_is_the_vae_itself():
    system, x = make(num_members=1), bits(9)
    state = system.init(KEY, bits(40))
    ensemble, vae = system.generative(state), vae_of(state, state.weights.params)
    values = [
        bayes_jax.importance_bound(KEY, model.latent, x, guide=model.guide).lower
        for model in (ensemble, vae)
    ]
    np.testing.assert_allclose(*values, rtol=1e-6)
    means = [model.latent.likelihood(jnp.ones(2)).mean for model in (ensemble, vae)]
    np.testing.assert_allclose(*means, rtol=1e-6)


def test_validation_watches_a_bound_of_the_average(drawn):
    system, state = drawn
    x = jnp.repeat(bits(1), 2000, axis=0)
    found = np.asarray(training.evaluate(KEY, system, state, x)["objective"])
    model = system.generative(state)
    few, many = (
        bayes_jax.importance_bound(KEY, model.latent, x, guide=model.guide, num_samples=num).lower
        for num in (4, 64)
    )
    stderr = np.hypot(found.std(), np.std(few)) / np.sqrt(len(x))
    assert abs(found.mean() - np.mean(few)) < 4 * stderr
    assert found.mean() < np.mean(many)


def test_a_run_that_goes_on_is_the_unbroken_one():
    """From the search of the mode into the drawing of weights."""
    system = make(num_members=2, num_warmup_epochs=2, num_epochs_between=1)
    x, ends = np.asarray(bits(20)), []
    whole = TrainConfig(num_epochs=5, batch_size=10)
    stopped = training.fit(KEY, system, x, x, TrainConfig(num_epochs=3, batch_size=10))
    for resume_from in (None, stopped.progress):
        result = training.fit(KEY, system, x, x, whole, resume_from=resume_from)
        ends.append(jax.tree.leaves(result.progress))
    for one, other in zip(*ends, strict=True):
        np.testing.assert_array_equal(one, other)


def test_objectives_that_bound_nothing_are_refused():
    with pytest.raises(ConfigError, match="objective is 'beta': expected elbo or iwae or stl or d"):
        BayesianDecoderConfig(objective=ObjectiveConfig("beta"))


def test_the_weights_with_most_evidence_on_held_out_images_are_chosen():
    """A prior so narrow that the pixels' means cannot be said, beside a wide one."""
    x = np.repeat(np.asarray(bits(1)), 60, axis=0)
    candidates = [WeightPosteriorConfig(prior_scale=scale) for scale in (0.01, 3.0)]
    config, results = choose_weights(
        KEY,
        BayesianDecoderConfig(2, ()),
        candidates,
        x,
        x[:20],
        spec=BITS,
        loop=TrainConfig(num_epochs=30, batch_size=10, learning_rate=0.03),
    )
    values = [result.progress.best_objective for result in results]
    assert config == BayesianDecoderConfig(2, (), weights=candidates[np.argmax(values)])
    assert config.weights.prior_scale == 3.0
    with pytest.raises(InputError, match="candidates is empty"):
        choose_weights(KEY, config, [], x, x, spec=BITS, loop=TrainConfig())


# --- digits --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    return load(DataConfig("digits", "bernoulli"))


def trained(digits, name, config, num_epochs=500):
    system = build(name, config, digits.spec)
    loop = TrainConfig(num_epochs=num_epochs, batch_size=64, patience=num_epochs)
    result = training.fit(KEY, system, digits.train, digits.validation, loop)
    return system.generative(result.state)


@pytest.fixture(scope="module")
def ensemble(digits):
    weights = WeightPosteriorConfig(num_warmup_epochs=250, num_epochs_between=20)
    config = BayesianDecoderConfig(8, (64, 32), weights=weights)
    return trained(digits, "bayesian_decoder", config)


@pytest.mark.long
def test_the_average_predicts_at_least_as_well_as_the_vae(digits, ensemble):
    """Test evidence, paired, in equal epochs."""
    vae = trained(digits, "vae", VAEConfig(8, (64, 32)))
    x = jnp.asarray(digits.test, jnp.float32)
    ours, theirs = (np.asarray(model.log_evidence(KEY, x).lower) for model in (ensemble, vae))
    gain = ours - theirs
    stderr = gain.std(ddof=1) / np.sqrt(len(gain))
    print(f"bayesian_decoder {ours.mean():.3f}, vae {theirs.mean():.3f}: ")
    print(f"gain {gain.mean():.3f} +- {stderr:.3f} nats")
    assert gain.mean() > -3 * stderr


@pytest.mark.long
@pytest.mark.parametrize("kind", ["inverted", "shuffled"])
def test_members_disagree_about_images_of_another_kind(digits, ensemble, kind):
    x = digits.test.astype(np.float32)
    order = np.random.default_rng(0).permutation(x.shape[1])
    other = 1 - x if kind == "inverted" else x[:, order]
    apart = disagreement(
        KEY, ensemble.latent, jnp.asarray(np.concatenate([x, other])), guide=ensemble.guide
    )
    label = np.repeat([0, 1], len(x))
    for name in ("information", "variance"):
        auc = roc_auc_score(label, getattr(apart, name))
        print(f"{kind}, {name}: AUROC {auc:.3f}")
        assert auc > 0.9
