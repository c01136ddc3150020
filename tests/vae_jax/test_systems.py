"""The table of systems: shapes, what a fitted model can do, and the optima that are known."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import bayes_jax
from bayes_jax.errors import InputError
from bayes_jax.estimates import EvidenceKind
from bayes_jax.exact import linear_gaussian
from vae_jax import checkpoints, objectives, training
from vae_jax.configs import (
    AutoregressiveConfig,
    BayesianDecoderConfig,
    DataConfig,
    DeepLatentConfig,
    FactorAnalysisConfig,
    GANConfig,
    HMMConfig,
    IWAEConfig,
    LinearVAEConfig,
    MixtureConfig,
    MixtureOfFactorAnalysersConfig,
    ObjectiveConfig,
    ObservationSpec,
    PPCAConfig,
    TextSpec,
    TrainConfig,
    VAEConfig,
    WeightPosteriorConfig,
)
from vae_jax.systems import SYSTEMS, build, vae
from vae_jax.systems.base import observing, training_data

KEY = jax.random.key(3)
BERNOULLI = ObservationSpec(64, "bernoulli")
GAUSSIAN = ObservationSpec(64, "gaussian", min_variance=1e-3)

SMALL = {
    "vae": VAEConfig(2, (16,)),
    "iwae": IWAEConfig(2, (16,), ObjectiveConfig("iwae", num_samples=3)),
    "autoregressive": AutoregressiveConfig(hidden_dims=(16,)),
    "bayesian_decoder": BayesianDecoderConfig(
        2, (16,), weights=WeightPosteriorConfig(num_members=3)
    ),
    "deep_latent": DeepLatentConfig(2, (16,)),
    "gan": GANConfig(2, (16,)),
    "linear_vae": LinearVAEConfig(4),
    "ppca": PPCAConfig(4),
    "factor_analysis": FactorAnalysisConfig(4),
    "hmm": HMMConfig(3),
    "mixture": MixtureConfig(3),
    "mixture_of_factor_analysers": MixtureOfFactorAnalysersConfig(3, 2),
}
OF_GREY = ("linear_vae", "ppca", "factor_analysis", "mixture_of_factor_analysers")
CASES = [(name, BERNOULLI) for name in SMALL if name not in OF_GREY]
CASES += [(name, GAUSSIAN) for name in SMALL if name not in ("iwae", "hmm")]
GRADIENT_CASES = [case for case in CASES if case[0] in ("vae", "iwae", "linear_vae")]


@pytest.fixture(scope="module")
def digits():
    """head -> (train, validation) of scikit-learn's digits, dim 64."""
    rng = np.random.default_rng(0)
    level = rng.permutation(load_digits().data)
    binary = (level >= 8).astype(np.uint8)
    grey = ((level + rng.random(level.shape)) / 17).astype(np.float32)
    return {
        "bernoulli": (binary[:1200], binary[1200:1500]),
        "gaussian": (grey[:1200], grey[1200:1500]),
    }


@pytest.fixture(scope="module")
def state_of(digits):
    """(name, spec) -> a state: initial for gradient systems, fitted for exact ones."""

    @functools.cache
    def state_of(name, spec):
        system, train = build(name, SMALL[name], spec), jnp.asarray(digits[spec.head][0])
        if system.fit is not None:
            return system.fit(KEY, train.astype(jnp.float32))
        return training.initial_progress(KEY, system, training_data(system, train)).state

    return state_of


@pytest.fixture(scope="module")
def trained_vae(digits):
    """A VAE after two epochs."""
    system = build("vae", SMALL["vae"], BERNOULLI)
    config = TrainConfig(num_epochs=2, batch_size=100)
    return training.fit(KEY, system, *digits["bernoulli"], config).state


@contextlib.contextmanager
def nothing_compiled():
    events = []

    def listen(event, duration, **kwargs):
        if event.endswith("backend_compile_duration"):
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert len(events) == 0


# --- the table -----------------------------------------------------------------------------------


def test_every_row_of_the_table_is_tested_here():
    of_images = {name for name, row in SYSTEMS.items() if row.data is DataConfig}
    assert SMALL.keys() == of_images == {name for name, _ in CASES}


@pytest.mark.parametrize(("name", "spec"), CASES)
def test_equal_configs_build_the_same_system(name, spec):
    config = SMALL[name]
    again = type(config)(**vars(config))
    assert build(name, config, spec) is build(name, again, ObservationSpec(**vars(spec)))


def test_unknown_system_lists_the_known_ones():
    with pytest.raises(
        InputError,
        match=r"'gan2'.*vae, iwae, autoregressive, bayesian_decoder, deep_latent, gan",
    ) as error:
        build("gan2", VAEConfig(), BERNOULLI)
    assert "\n" not in str(error.value)


def test_config_of_another_system_is_refused():
    with pytest.raises(InputError, match="config of vae is a IWAEConfig: expected VAEConfig"):
        build("vae", IWAEConfig(), BERNOULLI)


def test_a_spec_of_another_kind_of_data_is_refused():
    with pytest.raises(InputError, match="vae on a TextSpec: expected ObservationSpec"):
        build("vae", VAEConfig(), TextSpec(5, 8))


@pytest.mark.parametrize("name", OF_GREY)
def test_gaussian_systems_refuse_a_bernoulli_head(name):
    with pytest.raises(InputError, match=f"{name} on a bernoulli head"):
        build(name, SMALL[name], BERNOULLI)


# --- laws over the table -------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("name", "spec"), CASES)
def test_samples_look_like_observations(state_of, name, spec):
    model = build(name, SMALL[name], spec).generative(state_of(name, spec))
    x = np.asarray(model.sample(KEY, 50))
    assert x.shape == (50, 64)
    assert len(np.unique(x, axis=0)) == 50
    if spec.head == "bernoulli":
        assert set(np.unique(x)) == {0, 1}


@pytest.mark.parametrize("name", [name for name in SMALL if name not in OF_GREY])
def test_systems_of_bits_refuse_grey_pixels(state_of, name):
    model = build(name, SMALL[name], BERNOULLI).generative(state_of(name, BERNOULLI))
    x = np.zeros((3, 64), np.float32)
    x[1, 5] = 0.5
    with pytest.raises(
        InputError, match=r"x\[1\] (lies outside the support|holds something else)"
    ) as error:
        model.log_evidence(KEY, x)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "spec"), GRADIENT_CASES)
def test_metrics_are_parts_of_a_bound_for_each_example(state_of, digits, name, spec):
    system, x = build(name, SMALL[name], spec), digits[spec.head][1][:20]
    metrics = training.evaluate(KEY, system, state_of(name, spec), x)
    parts, of_units = (
        {"objective", "elbo", "reconstruction", "kl"},
        {"unit_mean", "unit_noise", "unit_kl"},
    )
    assert metrics.keys() - of_units == parts
    assert all(metrics[part].shape == (20,) for part in parts)
    if name != "linear_vae":
        assert (
            metrics["unit_kl"].shape
            == metrics["unit_mean"].shape
            == (20, metrics["unit_kl"].shape[1])
        )
    np.testing.assert_allclose(
        metrics["elbo"], metrics["reconstruction"] - metrics["kl"], rtol=1e-5, atol=1e-4
    )
    if name == "iwae":  # log mean exp >= mean, on the same draws
        assert (metrics["objective"] > metrics["elbo"]).all()
    else:
        np.testing.assert_array_equal(metrics["objective"], metrics["elbo"])


@pytest.mark.parametrize(
    ("name", "spec"), [("vae", BERNOULLI), ("iwae", BERNOULLI), ("linear_vae", GAUSSIAN)]
)
def test_one_step_is_adams_along_the_objective(digits, name, spec):
    """The first Adam step moves every param by the learning rate, uphill."""
    system, x = build(name, SMALL[name], spec), jnp.asarray(digits[spec.head][0][:100], jnp.float32)
    state = system.init(KEY, x)

    def objective(params):
        return jnp.mean(system.evaluate(state._replace(params=params), KEY, x)["objective"])

    gradient = jax.jit(jax.grad(objective))(state.params)
    stepped, _ = jax.jit(system.step)(state, KEY, x, learning_rate=1e-3)
    before, after, slope = (
        np.asarray(ravel_pytree(tree)[0]) for tree in (state.params, stepped.params, gradient)
    )
    clear = np.abs(slope) > 1e-4
    assert clear.sum() > 100
    np.testing.assert_allclose((after - before)[clear], 1e-3 * np.sign(slope[clear]), atol=2e-5)


@pytest.mark.parametrize(("name", "spec"), CASES)
def test_fresh_noise_is_refused_by_what_keeps_chains_of_each_image(name, spec):
    system = build(name, SMALL[name], spec)
    assert observing(system, None) is system
    if system.is_indexed:
        with pytest.raises(InputError, match=r"noise is fresh.*expected noise fixed"):
            observing(system, lambda key, batch: batch)
    else:
        assert observing(system, lambda key, batch: batch).observe is not None


def test_fresh_noise_is_drawn_before_a_state_begins():
    """Output biases are those of observations, not of grey levels."""
    system = build("vae", VAEConfig(2, (4,)), ObservationSpec(4, "bernoulli"))
    plain = system._replace(init=lambda key, data: data)
    noisy = observing(plain, lambda key, batch: batch / 255)
    np.testing.assert_allclose(noisy.init(KEY, jnp.full((3, 4), 51.0)), 0.2)


# --- the VAE and the IWAE ------------------------------------------------------------------------


def test_default_networks_are_the_seeds():
    spec = ObservationSpec(784, "bernoulli")
    system = build("vae", VAEConfig(latent_dim=20), spec)
    x = jax.ShapeDtypeStruct((10, 784), jnp.uint8)
    params = jax.eval_shape(system.init, KEY, x).params
    widths = {
        name: [layer["kernel"].shape for _, layer in sorted(params[name]["params"].items())]
        for name in ("encoder", "decoder")
    }
    assert not jax.tree.leaves({name: params[name] for name in ("posterior", "prior", "head")})
    assert widths == {
        "encoder": [(784, 512), (512, 256), (256, 40)],
        "decoder": [(20, 256), (256, 512), (512, 784)],
    }


@pytest.mark.parametrize("spec", [BERNOULLI, GAUSSIAN])
def test_decoder_starts_at_the_means_of_the_data(digits, spec):
    x = digits[spec.head][0]
    system = build("vae", SMALL["vae"], spec)
    latent = system.generative(system.init(KEY, jnp.asarray(x))).latent
    mean = np.clip(x.mean(0), 1e-3, 1 - 1e-3) if spec.head == "bernoulli" else x.mean(0)
    np.testing.assert_allclose(latent.likelihood(jnp.zeros(2)).mean, mean, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_evidence_of_the_vae_is_annealed(trained_vae, digits):
    x = digits["bernoulli"][1][:16]
    model = build("vae", SMALL["vae"], BERNOULLI).generative(trained_vae)
    evidence = model.log_evidence(KEY, x)
    bound = bayes_jax.importance_bound(KEY, model.latent, x, guide=model.guide, num_samples=5000)
    # Of the mean over x: the error bar of one x is itself rough where a few weights dominate.
    stderr = np.linalg.norm(np.hypot(evidence.stderr_lower, bound.stderr_lower)) / len(x)
    assert evidence.kind == EvidenceKind.LOWER
    assert abs(np.mean(evidence.lower - bound.lower)) < 4 * stderr < 0.1


def test_restored_checkpoint_of_a_fresh_builder_compiles_nothing(trained_vae, digits, tmp_path):
    def bound(model, x):
        return bayes_jax.importance_bound(KEY, model.latent, x, guide=model.guide)

    x = jnp.asarray(digits["bernoulli"][1][:5])
    system = build("vae", SMALL["vae"], BERNOULLI)
    before = bound(system.generative(trained_vae), x)
    checkpoints.save(tmp_path, 1, trained_vae)

    fresh = build("vae", VAEConfig(2, (16,)), ObservationSpec(64, "bernoulli"))
    abstract = jax.eval_shape(fresh.init, KEY, x)
    model = fresh.generative(checkpoints.restore(tmp_path, abstract))
    with nothing_compiled():
        after = bound(model, x)
    np.testing.assert_array_equal(before.lower, after.lower)
    with pytest.raises(AssertionError), nothing_compiled():
        bound(model, x[:4])  # another shape compiles: the counter counts


def test_vae_and_iwae_share_their_functions(state_of):
    models = [
        build(name, SMALL[name], BERNOULLI).generative(state_of(name, BERNOULLI))
        for name in ("vae", "iwae")
    ]
    assert models[0].guide.func is models[1].guide.func
    assert models[0].latent.likelihood.func is models[1].latent.likelihood.func


def test_rows_of_a_batch_get_different_noise(trained_vae, digits):
    same = np.repeat(digits["bernoulli"][1][:1], 8, axis=0)
    system = build("vae", SMALL["vae"], BERNOULLI)
    metrics = training.evaluate(KEY, system, trained_vae, same)
    assert len(np.unique(metrics["reconstruction"])) == 8


# --- the linear VAE and PPCA ---------------------------------------------------------------------


def test_linear_elbo_is_the_sampled_one_in_expectation(state_of, digits):
    model = build("linear_vae", SMALL["linear_vae"], GAUSSIAN).generative(
        state_of("linear_vae", GAUSSIAN)
    )
    x = jnp.asarray(digits["gaussian"][1][0])
    params = model.latent.likelihood.args[0]
    exact = vae.linear_elbo_terms(params, model.guide, x)
    keys = jax.random.split(KEY, 20_000)
    sampled = jax.jit(
        jax.vmap(lambda key: objectives.elbo_terms(key, model.latent, model.guide, x))
    )(keys)
    stderr = sampled.reconstruction.std() / np.sqrt(len(keys))
    assert abs(sampled.reconstruction.mean() - exact.reconstruction) < 4 * stderr
    np.testing.assert_allclose(sampled.kl[0], exact.kl, rtol=1e-5)
    np.testing.assert_allclose(exact.objective, exact.reconstruction - exact.kl, rtol=1e-6)


@pytest.fixture(scope="module")
def converged(digits):
    """The linear VAE of 4 units, full batch, until it moves no more."""
    train, validation = digits["gaussian"]
    system = build("linear_vae", LinearVAEConfig(4), GAUSSIAN)
    config = TrainConfig(num_epochs=1000, batch_size=1200, learning_rate=1e-2, patience=1000)
    progress = training.fit(KEY, system, train, validation, config).progress
    return system.generative(progress.state)


def test_linear_vae_reaches_the_evidence_of_ppca_from_below(converged, digits):
    train = digits["gaussian"][0]
    best = PCA(4, svd_solver="full").fit(train.astype(np.float64)).score(train)
    evidence = converged.log_evidence(KEY, train)
    assert evidence.kind == EvidenceKind.EXACT
    mean = np.asarray(evidence.lower, np.float64).mean()
    assert best - 0.05 < mean < best + 1e-3  # float32 rounding

    params = converged.latent.likelihood.args[0]
    elbo = jax.vmap(lambda x: vae.linear_elbo_terms(params, converged.guide, x).elbo)(train)
    assert (elbo <= evidence.lower + 1e-3).all()
    assert best - 0.05 < np.asarray(elbo, np.float64).mean() < mean


def test_converged_guide_is_the_exact_posterior(converged, digits):
    x = digits["gaussian"][0][0]
    guide, exact = converged.guide(x), converged.posterior(x)
    scale = np.sqrt(np.diag(exact.covariance_matrix))
    np.testing.assert_array_less(np.abs(guide.mean - exact.mean) / scale, 0.2)
    np.testing.assert_allclose(np.sqrt(guide.variance), scale, rtol=0.05)


# --- exact systems -------------------------------------------------------------------------------


def test_ppca_is_scikit_learns(state_of, digits):
    train, validation = digits["gaussian"]
    model = build("ppca", SMALL["ppca"], GAUSSIAN).generative(state_of("ppca", GAUSSIAN))
    expected = PCA(4, svd_solver="full").fit(train.astype(np.float64)).score_samples(validation)
    # scikit-learn divides the covariance by num - 1: a relative 1 / 1200 in every variance.
    np.testing.assert_allclose(
        np.mean(model.log_evidence(KEY, validation).lower), expected.mean(), atol=0.02
    )


def test_factor_analysis_has_a_variance_for_each_pixel(state_of):
    variance = state_of("factor_analysis", GAUSSIAN).variance
    assert len(np.unique(variance)) > 32
    assert (variance >= GAUSSIAN.min_variance * (1 - 1e-6)).all()


def test_variance_floor_reaches_the_exact_systems(digits):
    floored = ObservationSpec(64, "gaussian", min_variance=10.0)
    system = build("ppca", SMALL["ppca"], floored)
    state = system.fit(KEY, digits["gaussian"][0])
    np.testing.assert_allclose(state.variance, 10.0)
    assert isinstance(state, linear_gaussian.LinearGaussian)
