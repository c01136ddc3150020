"""The table of models: its arithmetic by hand, its models on real digits in the known order."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax import Evidence, simulate
from bayes_jax.estimates import EvidenceKind
from bayes_jax.exact import linear_gaussian
from bayes_jax.observation import with_gaussian_noise
from vae_jax.arguments import parse_train
from vae_jax.comparison import decoders, model_table, models, noises, scores
from vae_jax.comparison.entrants import ENTRANTS
from vae_jax.configs import DataConfig, InferenceBudget, TrainConfig
from vae_jax.data.arrays import load

BUDGET = InferenceBudget(
    num_images=64,
    num_posteriors=4,
    num_chains=8,
    num_reference_draws=20,
    num_simulations=32,
    num_temperatures_prior=200,
)


@pytest.fixture(scope="module")
def digits():
    return load(DataConfig())


@pytest.fixture(scope="module")
def grey():
    return load(DataConfig(observation="gaussian"))


def fitted(name, dataset, num_epochs=1000, latent_dim=16, **options):
    loop = TrainConfig(num_epochs=num_epochs, **options)
    return models.train(name, dataset, loop, config=ENTRANTS[name].config(latent_dim))


def exact(values):
    low = np.asarray(values, np.float32)
    return Evidence(low, low, 0 * low, 0 * low, EvidenceKind.EXACT)


def test_rows_pair_images_and_pool_seeds(digits):
    """Hand-made evidences: differences, errors and spread by arithmetic."""
    trained = fitted("mixture", digits)

    def scored(values):
        return scores.Scored(trained, exact(values), None, None, 0.1, 0.2, None, None)

    first = [scored([-10.0, -12.0, -14.0]), scored([-12.0, -14.0, -16.0])]
    second = [scored([-10.0, -11.0, -15.0])]
    rows = model_table.rows([first, second], digits)
    assert rows[0]["log_prob"] == -13
    assert rows[0]["num_seeds"] == 2
    np.testing.assert_allclose(rows[0]["spread"], np.sqrt(2))
    np.testing.assert_allclose(rows[0]["difference"], -1)
    np.testing.assert_allclose(rows[0]["difference_stderr"], np.std([1, 2, 0], ddof=1) / 3**0.5)
    assert rows[1]["difference"] == 0
    np.testing.assert_allclose(rows[1]["bits_per_dim"], 12 / (64 * np.log(2)))
    assert rows[0]["seconds_per_thousand"] == pytest.approx(100)
    assert model_table.SPREAD_COLUMN in model_table.table([first, second], digits).columns
    # A model without a number for some image is named, and is not the best.
    bad = [scored([-1.0, np.nan, -1.0])]
    assert model_table.rows([bad, first, second], digits)[1:] == rows
    assert not model_table.warnings([first, second])
    (line,) = model_table.warnings([first, bad])
    assert line.startswith(f"{trained.title}: log p(x) of 1 images is NaN or infinite, the first")


@pytest.mark.long
def test_seed_vae_beats_a_mixture_of_ten_on_binary_digits(digits):
    """Must hold: 16-d latent, trained until validation stops improving, evidence by annealing."""
    x = models.test_images(digits, InferenceBudget())
    scored = [
        [scores.score(jax.random.key(3), fitted(name, digits), x, BUDGET)]
        for name in ("vae", "mixture")
    ]
    vae, mixture = model_table.rows(scored, digits)
    assert mixture["difference"] < -4 * mixture["difference_stderr"]
    assert vae["active_units"] > 5
    assert -18.5 < vae["log_prob"] < -15
    assert vae["method"] == "annealed from the guide"
    assert -4 * vae["width_stderr"] < vae["width"] < 0.3
    assert vae["seconds_per_posterior"] > 0
    assert vae["abilities"] == "sample, score, encode, impute"
    assert mixture["method"] == mixture["kind"] == "exact"
    assert mixture["width"] is mixture["seconds_per_posterior"] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "abilities"),
    [
        ("made", "sample, score"),
        ("deep_latent", "sample, score, impute"),
        ("gan", "sample, score, impute"),
        ("bayesian_decoder", "sample, score, encode"),
        ("mixture", "sample, score, encode, impute"),
    ],
)
def test_a_row_says_what_its_model_can_do(digits, name, abilities):
    trained = fitted(name, digits, num_epochs=1, latent_dim=2)
    assert model_table.abilities(trained.generative) == abilities


def test_the_command_of_a_row_trains_it(digits):
    trained = fitted("pixelcnn", digits, num_epochs=1, batch_size=64)
    (row,) = model_table.commands([trained], DataConfig("digits")).rows
    program, script, *arguments = row["command"].split()
    assert (program, script) == ("python", "scripts/train.py")
    command = parse_train(arguments)
    assert (command.name, command.system) == ("autoregressive", trained.config)
    assert (command.train, command.data) == (trained.loop, DataConfig("digits"))
    assert "--latent-dim" not in row["command"]


@pytest.fixture(scope="module")
def linear(grey):
    """A linear decoder, whose evidence is exact under every noise."""
    return fitted("ppca", grey, latent_dim=3)


def under(params, scale, x):
    noisy = params._replace(variance=jnp.full_like(params.variance, scale**2))
    return np.asarray(jax.vmap(lambda x: linear_gaussian.log_evidence(noisy, x))(x), np.float64)


def test_every_decoder_is_bounded_from_the_prior_alike(grey, linear):
    """And never above its exact evidence, to which the bound comes close."""
    x = models.test_images(grey, BUDGET)
    evidence, validation = decoders.bound(jax.random.key(0), linear.generative.latent, x, BUDGET)
    gap = np.asarray(linear.generative.log_evidence(jax.random.key(1), x).lower - evidence.lower)
    assert -4 * np.std(gap) / len(gap) ** 0.5 < gap.mean() < 0.5
    assert len(validation.x) == BUDGET.num_simulations


def test_decoders_are_compared_to_the_vae_image_by_image(linear):
    """Hand-made evidences, the VAE last: differences and their errors by arithmetic."""
    vae = linear._replace(name="vae")
    other, reference = [-10.0, -12.0, -14.0], [-11.0, -14.0, -17.0]
    expected = (2, 1 / 3**0.5)  # of 1, 2 and 3

    def differences(rows):
        return [(row["difference"], row["difference_stderr"]) for row in rows]

    bounded = [
        [decoders.Bounded(trained, exact(values), None)]
        for trained, values in ((linear, other), (vae, reference))
    ]
    first, second = differences(decoders.rows(bounded))
    np.testing.assert_allclose(first, expected, rtol=1e-5)
    assert second == (0, 0)
    assert differences(decoders.rows(bounded[:1])) == [(None, None)]

    own = exact([-5.0, -3.0, -9.0])
    noisy = [
        [noises.Noisy(trained, 0.1, own, None, exact(values), None)]
        for trained, values in ((linear, other), (vae, reference))
    ]
    rows = noises.rows(noisy)
    np.testing.assert_allclose(differences(rows)[0], expected, rtol=1e-5)
    assert differences(rows)[1] == (0, 0)
    assert [row["log_prob"] for row in rows] == [-12, -14]
    assert [row["own_log_prob"] for row in rows] == pytest.approx([-17 / 3] * 2)


@pytest.mark.slow
def test_a_decoder_has_its_own_noise_and_the_shared_one(grey, linear):
    """The chosen scale is the best of the grid by closed form, and both bounds hold under it."""
    x = models.test_images(grey, BUDGET)
    model = linear.generative.latent
    # Less noise on the images that choose than on those that are tested.
    quiet = with_gaussian_noise(model, noises.SCALES[1])
    validation = simulate(jax.random.key(4), quiet, noises.NUM_VALIDATION)[1]
    found = noises.under_noise(jax.random.key(2), linear, validation, x, BUDGET)
    loading = jax.vmap(lambda z: model.likelihood(z).mean)(jnp.eye(3))
    mean = model.likelihood(jnp.zeros(3)).mean
    params = linear_gaussian.LinearGaussian((loading - mean).T, mean, jnp.ones_like(mean))
    best, of_tested = (
        max(noises.SCALES, key=lambda scale, images=images: under(params, scale, images).mean())
        for images in (validation, x)
    )
    assert found.scale == best == noises.SCALES[1] != of_tested
    for scale, evidence in ((best, found.own), (noises.SHARED_SCALE, found.shared)):
        gap = under(params, scale, x) - np.asarray(evidence.lower, np.float64)
        assert -4 * np.std(gap) / len(gap) ** 0.5 < gap.mean() < 0.5
    (row,) = noises.rows([[found]])
    assert row["scale"] == best
    assert not row["is_edge"]
    assert row["difference"] is None
    assert row["width"] is not None
