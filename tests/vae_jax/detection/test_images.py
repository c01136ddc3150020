"""Scores of images by a run: what they are made of, who has which, and where -log p misleads."""

import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax import InputError
from bayes_jax.exact import linear_gaussian
from vae_jax import systems
from vae_jax.configs import (
    BayesianDecoderConfig,
    DataConfig,
    MixtureConfig,
    ObservationSpec,
    VAEConfig,
    WeightPosteriorConfig,
)
from vae_jax.data import arrays
from vae_jax.detection import image_report, image_trial
from vae_jax.detection.image_scores import code_lengths, possible_scores
from vae_jax.detection.latent_scores import LATENT_SCORES
from vae_jax.detection.trial import Scored

KEY = jax.random.key(0)
SPEC = ObservationSpec(dim=16, head="bernoulli", image_shape=(4, 4))
OF_EVIDENCE = {"evidence", "typicality", "complexity"}


def bits(num, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (num, 16)).astype(np.float32)


def generative(name, config):
    system = systems.build(name, config, SPEC)
    state = system.fit(KEY, bits(30)) if system.fit else system.init(KEY, jnp.asarray(bits(30)))
    return system.generative(state)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "config", "expected"),
    [
        ("mixture", MixtureConfig(2), OF_EVIDENCE),
        ("vae", VAEConfig(2, (8,)), OF_EVIDENCE | {*LATENT_SCORES}),
        (
            "bayesian_decoder",
            BayesianDecoderConfig(2, (8,), weights=WeightPosteriorConfig(num_members=2)),
            OF_EVIDENCE | {*LATENT_SCORES, "disagreement"},
        ),
    ],
)
def test_a_model_has_the_scores_it_allows(name, config, expected):
    scores = possible_scores(generative(name, config), bits(4, 1), key=KEY)
    assert {*scores} == expected
    quick = [score for each, score in scores.items() if each not in image_trial.SLOW]
    for score in quick:
        found = score(KEY, bits(3, 2))
        assert found.shape == (3,)
        assert np.isfinite(found).all()


@pytest.fixture
def plane():
    """A plane in 3-d, its exact scores, and 400 draws that are typical."""
    model = linear_gaussian.generative(
        linear_gaussian.LinearGaussian(
            loading=jnp.array([[1.0], [2.0], [0.0]]), mean=jnp.zeros(3), variance=jnp.full(3, 0.1)
        )
    )
    typical = np.asarray(model.sample(KEY, 400))
    return model, possible_scores(model, typical, key=KEY, num_levels=4)


def test_evidence_is_exact_where_it_can_be(plane):
    model, scores = plane
    x = np.asarray(model.sample(jax.random.key(1), 5))
    expected = -model.log_evidence(KEY, jnp.asarray(x)).lower
    np.testing.assert_allclose(scores["evidence"](KEY, x), expected, rtol=1e-5)


def test_what_is_too_probable_is_odd_to_typicality_alone(plane):
    model, scores = plane
    mean, draws = np.zeros((1, 3), np.float32), np.asarray(model.sample(jax.random.key(1), 200))
    assert scores["evidence"](KEY, mean) < np.quantile(scores["evidence"](KEY, draws), 0.02)
    assert scores["typicality"](KEY, mean) > np.median(scores["typicality"](KEY, draws))


def test_complexity_takes_away_the_code_length(plane):
    _, scores = plane
    x = np.random.default_rng(0).random((4, 3)).astype(np.float32)
    expected = scores["evidence"](KEY, x) - code_lengths(x, num_levels=4)
    np.testing.assert_allclose(scores["complexity"](KEY, x), expected)


def test_code_lengths_are_nats_of_the_compressed_levels():
    x = np.array([[0, 3, 1, 2] * 8, [1] * 32], np.float32)
    expected = [8 * np.log(2) * len(zlib.compress(bytes(row), 9)) for row in x.astype(int).tolist()]
    np.testing.assert_allclose(code_lengths(x, num_levels=4), expected)
    assert expected[1] < expected[0]


def test_dequantization_noise_costs_nothing():
    levels = np.random.default_rng(0).integers(0, 8, (3, 20))
    noisy = (levels + np.random.default_rng(1).uniform(0.01, 0.99, levels.shape)) / 8
    of_levels = code_lengths(levels.astype(float), num_levels=8)
    np.testing.assert_array_equal(code_lengths(noisy, num_levels=8), of_levels)


@pytest.fixture(scope="module")
def without_ones():
    return arrays.load(DataConfig(held_out_label=1))


def test_no_split_has_the_class_that_is_held_out(without_ones):
    everything = arrays.load(DataConfig())
    for split in ("train", "validation", "test"):
        labels = getattr(everything, f"{split}_labels")
        kept = getattr(everything, split)[labels != 1]
        np.testing.assert_array_equal(getattr(without_ones, split), kept)
        assert 1 not in getattr(without_ones, f"{split}_labels")
    assert everything.held_out is None
    assert len(without_ones.held_out) == 182
    num_kept = sum(len(getattr(without_ones, s)) for s in ("train", "validation", "test"))
    assert num_kept + 182 == 1797


def test_a_class_that_is_not_there_cannot_be_held_out(tmp_path):
    with pytest.raises(InputError, match=r"held_out_label is 12: expected .* 0, 1, 2"):
        arrays.load(DataConfig(held_out_label=12))
    np.savez(tmp_path / "plain.npz", images=np.zeros((20, 4, 4), np.uint8))
    with pytest.raises(InputError, match="which has no labels"):
        arrays.load(DataConfig(str(tmp_path / "plain.npz"), held_out_label=0))


def test_own_images_come_first_and_p_values_are_by_validation(without_ones):
    system = systems.build("mixture", MixtureConfig(3), without_ones.spec)
    model = system.generative(system.fit(KEY, without_ones.train.astype(np.float32)))
    odd = image_trial.other_images(without_ones, None)
    found = dict(image_trial.run(KEY, model, without_ones, odd, num_images=100))
    assert {*found} == OF_EVIDENCE
    evidence = found["evidence"]
    assert len(evidence.index) == 200
    own, other = evidence.p_value[:100], evidence.p_value[100:]
    # 50 images calibrate: the share of own images below 0.2 is Beta-binomial, its sd 0.07.
    assert abs(np.mean(own <= 0.2) - 0.2) < 4 * 0.07
    assert np.mean(other <= 0.2) > 0.2 + 3 * 0.07


def test_without_other_images_a_line_says_what_to_do():
    with pytest.raises(InputError, match=r"expected --against DATA, or a run of train\.py"):
        image_trial.other_images(arrays.load(DataConfig()), None)


def test_the_report_says_when_log_p_misleads():
    def scored(values):
        values = np.array(values, float)
        return Scored(np.arange(4), values, np.full(4, 0.5))

    is_odd = np.array([False, False, True, True])
    assert image_report.surprise(scored([5, 7, 8, 9]), is_odd) == ""
    line = image_report.surprise(scored([5, 7, 1, 2]), is_odd)
    assert "MORE probable (-1.5 nats in the mean, the run's own -6.0)" in line
    table = image_report.table(
        {"evidence": scored([5, 7, 1, 2]), "complexity": scored([1, 2, 3, 4])}, is_odd
    )
    assert [row["score"] for row in table.rows] == ["complexity", "evidence"]
    assert [row["roc_auc"] for row in table.rows] == [1, 0]
    assert [row["recommended"] for row in table.rows] == [True, False]
    assert table.rows[1]["mean_own"] == 6
