"""The loop: what it feeds to a system, when it stops, what it keeps, and that it compiles once."""

import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.errors import InputError
from bayes_jax.estimates import exact_evidence
from bayes_jax.model import GenerativeModel
from vae_jax import checkpoints, schedules, training
from vae_jax.configs import ObservationSpec, TrainConfig, VAEConfig
from vae_jax.objectives import active_units
from vae_jax.systems.base import System, observing
from vae_jax.systems.vae import build_vae

KEY = jax.random.key(7)
NUM, DIM = 50, 7
SPEC = ObservationSpec(DIM, "bernoulli")
CONFIG = TrainConfig(num_epochs=4, batch_size=12, learning_rate=1e-2)


@pytest.fixture(scope="module")
def data():
    x = (np.random.default_rng(0).random((NUM + 15, DIM)) < 0.3).astype(np.uint8)
    return x[:NUM], x[NUM:]


@pytest.fixture(scope="module")
def system():
    return build_vae(VAEConfig(latent_dim=2, hidden_dims=(8,)), SPEC)


@pytest.fixture(scope="module")
def result(system, data):
    return training.fit(KEY, system, *data, CONFIG)


def toy_system(*, step, evaluate, init=lambda key, batch: jnp.float32(0)):
    """A system whose state is a number (or what `init` makes)."""

    def generative(state):
        return GenerativeModel(sample=None, log_evidence=None)

    return System(generative, init, step, evaluate)


def count_steps(state, key, batch, *, learning_rate):
    return state + 1, {"objective": state}


def assert_same(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


# --- what the loop feeds -------------------------------------------------------------------------


def test_compiled_epochs_are_the_plain_loop_over_steps(system, data, result):
    key_init, key_epochs, _ = jax.random.split(KEY, 3)
    state = system.init(key_init, jnp.asarray(data[0]))
    for epoch in range(1, CONFIG.num_epochs + 1):
        key_order, key_steps = jax.random.split(jax.random.fold_in(key_epochs, epoch))
        order = jax.random.permutation(key_order, NUM)
        for index in range(NUM // 12):
            batch = data[0][order[12 * index : 12 * (index + 1)]].astype(np.float32)
            key = jax.random.fold_in(key_steps, index)
            state, _ = jax.jit(system.step)(state, key, batch, learning_rate=1e-2)
    for plain, compiled in zip(
        jax.tree.leaves(state), jax.tree.leaves(result.progress.state), strict=True
    ):
        np.testing.assert_allclose(plain, compiled, atol=1e-5)


def test_every_epoch_says_what_the_latent_units_carry(system, data, result):
    for report in result.history:
        assert sum(report.validation["unit_kl"]) == pytest.approx(report.validation["kl"], rel=1e-4)
    latent_of = system.generative(result.progress.state)
    x = jnp.asarray(data[1], jnp.float32)
    assert result.history[-1].validation["active_units"] == active_units(latent_of.guide, x)


def test_an_epoch_visits_no_example_twice_and_leaves_out_others_each_time():
    def add(state, key, batch, *, learning_rate):
        return state + batch.sum(0), {"objective": 0.0}

    def evaluate(state, key, batch):
        return {"objective": batch[:, 0]}

    system = toy_system(step=add, evaluate=evaluate, init=lambda key, batch: jnp.zeros(10))
    visits = [np.zeros(10)]
    training.fit(
        KEY,
        system,
        np.eye(10, dtype=np.float32),
        np.eye(10, dtype=np.float32),
        TrainConfig(num_epochs=4, batch_size=4),
        on_epoch=lambda report: visits.append(np.asarray(report.progress().state)),
    )
    each = np.diff(visits, axis=0)
    assert set(each.ravel()) == {0.0, 1.0}
    assert (each.sum(axis=1) == 8).all()
    assert len({tuple(row) for row in each}) == 4


def test_bytes_stay_bytes_until_they_are_a_batch(system, data, result):
    lowered = training.train_epoch.lower(
        result.progress.state, KEY, jnp.asarray(data[0]), 1e-2, step=system.step, batch_size=12
    ).as_text()
    assert f"tensor<{NUM}x{DIM}xui8>" in lowered
    assert f"tensor<12x{DIM}xf32>" in lowered
    assert f"tensor<{NUM}x{DIM}xf32>" not in lowered


@pytest.mark.parametrize("schedule", ["constant", "cosine", "staged"])
def test_learning_rates_are_those_of_the_schedule_and_of_each_seed(schedule):
    def record(state, key, batch, *, learning_rate):
        return state + 1, {"objective": state, "rate": learning_rate}

    system = toy_system(step=record, evaluate=lambda s, k, batch: {"objective": batch[:, 0]})
    data = np.ones((4, 1), np.float32)
    config = TrainConfig(5, 4, learning_rate=0.25, patience=5, schedule=schedule)
    rates = [
        report.train["rate"] for report in training.fit(KEY, system, data, data, config).history
    ]
    expected = [schedules.learning_rate(config, epoch) for epoch in range(1, 6)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)
    assert rates[0] == 0.25
    keys = jax.random.split(KEY, 2)
    both = training.fit_seeds(keys, system, data, data, config, learning_rates=[0.5, 0.25])
    for result, factor in zip(both, (2, 1), strict=True):
        seen = [report.train["rate"] for report in result.history]
        np.testing.assert_allclose(seen, factor * np.array(expected), rtol=1e-6)


@pytest.mark.parametrize("batch_size", [3, 7, 100])
def test_evaluation_of_a_ragged_split_is_exact(batch_size):
    def evaluate(state, key, batch):
        return {"objective": state * batch[:, 0], "noise": jax.random.normal(key, len(batch))}

    system = toy_system(step=count_steps, evaluate=evaluate)
    x = np.arange(14, dtype=np.float32).reshape(7, 2)
    values = training.evaluate(KEY, system, jnp.float32(2), x, batch_size=batch_size)
    np.testing.assert_array_equal(values["objective"], 2 * x[:, 0])
    assert len(np.unique(values["noise"])) == 7


def test_noise_is_drawn_anew_for_every_step_and_not_for_validation():
    def add(state, key, batch, *, learning_rate):
        return state + batch, {"objective": 0.0}

    def observe(key, batch):
        return jax.random.bernoulli(key, batch / 4, batch.shape).astype(jnp.float32)

    plain = toy_system(
        step=add,
        evaluate=lambda state, key, batch: {"objective": batch[:, 0]},
        init=lambda key, batch: jnp.zeros((8, 1)),
    )
    system = observing(plain, observe)
    assert system is observing(plain, observe)
    states = [np.zeros((8, 1))]
    result = training.fit(
        KEY,
        system,
        np.full((8, 1), 2, np.uint8),
        np.full((8, 1), 3, np.uint8),
        TrainConfig(num_epochs=20, batch_size=8),
        on_epoch=lambda report: states.append(np.asarray(report.progress().state)),
    )
    draws = np.diff(states, axis=0)
    assert set(draws.ravel()) == {0.0, 1.0}
    assert 55 < draws.sum() < 105  # of 160, half
    assert len({tuple(draw.ravel()) for draw in draws}) > 15
    assert result.history[0].validation["objective"] == 3


# --- when it stops, what it keeps ----------------------------------------------------------------


def scripted(objectives):
    """A system that counts its steps; its validation objective is read from a list."""
    table = jnp.asarray(objectives, jnp.float32)

    def evaluate(state, key, batch):
        value = table[state.astype(int) - 1]
        return {"objective": jnp.full(len(batch), value)}

    return toy_system(step=count_steps, evaluate=evaluate)


ONE_STEP = np.ones((4, 1), np.float32)


def test_patience_counts_from_the_best_epoch_and_the_best_state_is_kept():
    system = scripted([1, 2, 5, 4, 5, 3, 9, 9, 9])
    config = TrainConfig(num_epochs=9, batch_size=4, patience=3)
    result = training.fit(KEY, system, ONE_STEP, ONE_STEP, config)
    assert (result.best_epoch, result.num_epochs) == (3, 6)
    assert result.state == 3
    assert result.progress.state == 6
    assert [report.is_best for report in result.history] == [True, True, True, False, False, False]
    assert [report.validation["objective"] for report in result.history] == [1, 2, 5, 4, 5, 3]


def test_all_epochs_run_while_validation_improves():
    system = scripted([1, 2, 3, 4, 5])
    config = TrainConfig(num_epochs=5, batch_size=4, patience=1)
    result = training.fit(KEY, system, ONE_STEP, ONE_STEP, config)
    assert (result.best_epoch, result.num_epochs) == (5, 5)


# --- repeating and resuming ----------------------------------------------------------------------


def test_same_key_repeats_the_run_and_another_does_not(system, data, result):
    again = training.fit(KEY, system, *data, CONFIG)
    assert_same(result.state, again.state)
    assert [r.validation for r in result.history] == [r.validation for r in again.history]
    other = training.fit(jax.random.key(8), system, *data, CONFIG)
    assert [r.validation for r in result.history] != [r.validation for r in other.history]


def test_resumed_run_is_the_unbroken_one_bit_by_bit(system, data, result, tmp_path):
    def save_epoch_two(report):
        if report.epoch == 2:
            checkpoints.save(tmp_path, report.epoch, report.progress())

    training.fit(KEY, system, *data, CONFIG, on_epoch=save_epoch_two)
    abstract = jax.eval_shape(lambda x: training.initial_progress(KEY, system, x), data[0])
    restored = checkpoints.restore(tmp_path, abstract)
    resumed = training.fit(KEY, system, *data, CONFIG, resume_from=restored)
    assert [report.epoch for report in resumed.history] == [3, 4]
    assert_same(resumed.progress, result.progress)
    # The caller's arrays are still there: the loop gave away copies.
    assert_same(restored, checkpoints.restore(tmp_path, abstract))


def test_finished_run_resumes_to_itself(system, data, result):
    again = training.fit(KEY, system, *data, CONFIG, resume_from=result.progress)
    assert again.history == ()
    assert_same(again.state, result.state)


# --- compilation ---------------------------------------------------------------------------------


def test_step_and_evaluate_are_traced_once_for_all_epochs_and_runs(system, data):
    traces = {"init": 0, "step": 0, "evaluate": 0}

    def counted(name):
        def call(*args, **options):
            traces[name] += 1
            return getattr(system, name)(*args, **options)

        return call

    watched = System(system.generative, counted("init"), counted("step"), counted("evaluate"))
    saved = []
    training.fit(KEY, watched, *data, CONFIG, on_epoch=lambda r: saved.append(copy(r.progress())))
    assert traces == {"init": 1, "step": 1, "evaluate": 1}
    other = TrainConfig(num_epochs=3, batch_size=12, learning_rate=0.5, patience=2)
    training.fit(jax.random.key(1), watched, 1 - data[0], 1 - data[1], other)
    training.fit(KEY, watched, *data, CONFIG, resume_from=saved[1])
    assert traces == {"init": 1, "step": 1, "evaluate": 1}


def copy(tree):
    return jax.tree.map(np.array, tree)


# --- exact systems, and input that cannot be used ------------------------------------------------


class Mean(NamedTuple):
    mean: jax.Array


def test_exact_systems_go_through_the_same_entrance():
    def generative(state):
        def log_evidence(key, x):
            return exact_evidence(-jnp.square(x - state.mean).sum(axis=-1))

        return GenerativeModel(sample=None, log_evidence=log_evidence)

    system = System(generative, fit=lambda key, x: Mean(x.mean(axis=0)))
    train, validation = np.array([[1], [0], [0], [0]], np.uint8), np.array([[1], [0]], np.uint8)
    reports = []
    result = training.fit(KEY, system, train, validation, CONFIG, on_epoch=reports.append)
    assert result.state.mean == 0.25
    assert (result.best_epoch, result.num_epochs) == (1, 1)
    assert result.history == tuple(reports)
    assert reports[0].validation["objective"] == -(0.75**2 + 0.25**2) / 2


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (np.zeros((3, DIM), np.uint8), "batch_size is 12, the training data hold 3 examples"),
        (np.zeros((0, DIM), np.uint8), "the train data hold no examples"),
        (np.full((20, DIM), np.nan, np.float32), "the train data hold NaN or infinity"),
        (np.full((20, DIM), 0.5, np.float32), "train: .* outside the support .* observation"),
        (np.full((20, DIM), 2, np.uint8), "train: .* outside the support .* observation"),
        (np.zeros((20, DIM + 1), np.uint8), r"x has shape \(20, 8\)"),
    ],
)
def test_unusable_data_are_one_line(system, data, train, message):
    with pytest.raises(InputError, match=message) as error:
        training.fit(KEY, system, train, data[1], CONFIG)
    assert "\n" not in str(error.value)


# --- many seeds at once --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["cpu", "default"])
def test_seeds_at_once_are_the_runs_that_each_would_be_alone(system, data, backend, monkeypatch):
    """Different seeds stop at different epochs, and those that go on do not move the others."""
    monkeypatch.setattr(
        jax.lax, "platform_dependent", lambda *args, **branches: branches[backend](*args)
    )
    jax.clear_caches()
    config = TrainConfig(num_epochs=12, batch_size=12, learning_rate=5e-2, patience=2)
    keys = jax.random.split(jax.random.key(3), 3)
    together = training.fit_seeds(keys, system, *data, config)
    alone = [training.fit(key, system, *data, config) for key in keys]
    assert len({result.num_epochs for result in alone}) > 1
    for one, other in zip(together, alone, strict=True):
        assert (one.num_epochs, one.best_epoch) == (other.num_epochs, other.best_epoch)
        assert len(one.history) == len(other.history)
        for left, right in zip(
            jax.tree.leaves(one.progress), jax.tree.leaves(other.progress), strict=True
        ):
            np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-4)


def test_seeds_report_and_resume_each_for_itself(system, data):
    config = CONFIG
    keys = jax.random.split(jax.random.key(4), 2)
    seen, progress = [], []

    def watch(reports):
        seen.append([report.epoch for report in reports])
        progress.append([report.progress() for report in reports])

    whole = training.fit_seeds(keys, system, *data, config, on_epoch=watch)
    assert seen == [[n, n] for n in range(1, 5)]
    resumed = training.fit_seeds(keys, system, *data, config, resume_from=progress[1])
    assert_same([r.progress for r in resumed], [r.progress for r in whole])


def test_a_seed_that_goes_wrong_is_named_and_the_others_go_on():
    """Every other epoch is the best so far; one that went wrong never is, nor those after it."""

    def step(state, key, batch, *, learning_rate):
        return state + 1, {"objective": state, "kl": jnp.where(bad(key), jnp.nan, 0.0)}

    def bad(key):
        return jax.random.uniform(key) < 0.1

    objectives = [1, 3, 2, 4, 2, 5, 2, 6, 2, 7, 2, 8]
    system = scripted(objectives)._replace(step=step)
    config = TrainConfig(num_epochs=12, batch_size=4)
    keys = jax.random.split(jax.random.key(2), 6)
    alone = []
    for key in keys:
        try:
            alone.append((training.fit(key, system, ONE_STEP, ONE_STEP, config), None))
        except training.NonFiniteError as error:
            alone.append((error.result, str(error)))
    faults = {index: fault for index, (_, fault) in enumerate(alone) if fault}
    assert 0 < len(faults) < 6
    with pytest.raises(training.NonFiniteError) as error:
        training.fit_seeds(keys, system, ONE_STEP, ONE_STEP, config)
    assert error.value.faults == faults
    assert str(error.value) == next(iter(error.value.faults.values()))
    for (result, _), other in zip(alone, error.value.results, strict=True):
        best_epoch = 1 + int(np.argmax(objectives[: other.num_epochs]))
        assert other.state == other.best_epoch == best_epoch
        assert (result.num_epochs, result.best_epoch) == (other.num_epochs, other.best_epoch)
        assert len(result.history) == len(other.history)
        assert_same(result.progress, other.progress)


def test_no_step_copies_the_params(system, data, result):
    """Every kernel is written over where it lies, once nothing reads it any more."""
    lowered = training.train_epoch.lower(
        result.progress.state, KEY, jnp.asarray(data[0]), 1e-2, step=system.step, batch_size=12
    )
    loop, _ = lowered.compile().as_text().split("\nENTRY")
    for leaf in jax.tree.leaves(result.progress.state.params):
        if leaf.ndim == 2:
            rows, columns = leaf.shape
            assert f"f32[{rows},{columns}]" in loop
            assert not re.search(rf" f32\[{rows},{columns}\]\S* copy\(", loop)
