"""NaN and infinity put into training: stopped within a chunk, named, the last good epoch kept."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bayes_jax.model import GenerativeModel
from vae_jax import training
from vae_jax.configs import ObservationSpec, TrainConfig, VAEConfig
from vae_jax.systems import SYSTEMS, build
from vae_jax.systems.base import System
from vae_jax.systems.vae import build_vae
from vae_jax.training import streaming

KEY = jax.random.key(7)
NUM_STEPS = 5
CONFIG = TrainConfig(num_epochs=4, batch_size=8)
DATA = (np.random.default_rng(0).random((40, 6)) < 0.4).astype(np.uint8)
NEVER = -1
BAD = jnp.array([jnp.nan, jnp.inf, -jnp.inf])


def poisoned(system):
    """The system, with a number put into a leaf of its state, or into a metric, in one step.

    Where, when and what is a part of the state, so that all runs share their programs.
    """

    def init(key, batch):
        return system.init(key, batch), {"step": NEVER, "leaf": 0, "value": 0}

    def step(state, key, batch, *, learning_rate):
        inner, plan = state
        is_now = plan["step"] == inner.opt_state.count
        moved = system.step(inner, key, batch, learning_rate=learning_rate)
        leaves, tree = jax.tree.flatten(moved)
        for index, leaf in enumerate(leaves):
            spoiled = leaf.reshape(-1).at[-1].set(BAD[plan["value"]].astype(leaf.dtype))
            is_here = is_now & (plan["leaf"] == index)
            leaves[index] = jnp.where(is_here, spoiled.reshape(leaf.shape), leaf)
        inner, metrics = jax.tree.unflatten(tree, leaves)
        return (inner, plan), metrics

    return system._replace(
        init=init,
        step=step,
        generative=lambda state: system.generative(state[0]),
        evaluate=lambda state, key, batch: system.evaluate(state[0], key, batch),
    )


@pytest.fixture(scope="module")
def system() -> System:
    return poisoned(build_vae(VAEConfig(2, (5,)), ObservationSpec(6, "bernoulli")))


@pytest.fixture(scope="module")
def places(system):
    """Index of a float leaf -> the name that a person is to read."""
    (state, _), metrics = jax.eval_shape(
        lambda: system.step(system.init(KEY, DATA), KEY, jnp.zeros((8, 6)), learning_rate=0.1)
    )
    names = {}
    for index, (path, leaf) in enumerate(jax.tree_util.tree_leaves_with_path((state, metrics))):
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            of_metrics = path[0].idx == 1
            inner = jax.tree_util.keystr(path[1:])
            names[index] = f"train {path[1].key}" if of_metrics else f"the state's [0]{inner}"
    return names


def start(system, plan):
    progress = training.initial_progress(KEY, system, DATA)
    inner, _ = progress.state
    return progress._replace(state=(inner, plan), best_state=(inner, plan))


def fit(system, plan, config, **options):
    return training.fit(KEY, system, DATA, DATA, config, resume_from=start(system, plan), **options)


@pytest.fixture(scope="module")
def clean(system):
    """Epoch -> where an unspoiled run stands then."""
    found = {0: start(system, {"step": NEVER, "leaf": 0, "value": 0})}
    plan = found[0].state[1]

    def keep(report):
        found[report.epoch] = jax.tree.map(np.array, report.progress())

    fit(system, plan, CONFIG, on_epoch=keep)
    return found


@pytest.mark.parametrize("count", [5, pytest.param(50, marks=pytest.mark.long)])
def test_a_bad_number_stops_its_epoch_and_is_named(system, places, clean, count):
    rng = np.random.default_rng(count)
    for _ in range(count):
        step = int(rng.integers(CONFIG.num_epochs * NUM_STEPS))
        leaf = int(rng.choice(list(places)))
        value = int(rng.integers(len(BAD)))
        epoch, index = divmod(step, NUM_STEPS)
        with pytest.raises(training.NonFiniteError) as error:
            fit(system, {"step": step, "leaf": leaf, "value": value}, CONFIG)
        expected = f"epoch {epoch + 1}, step {index + 1}: {places[leaf]} is not finite; "
        assert str(error.value).startswith(expected)
        assert error.value.result.num_epochs == epoch
        kept, good = error.value.result.progress, clean[epoch]
        for one, other in ((kept.state, good.state), (kept.best_state, good.best_state)):
            jax.tree.map(np.testing.assert_array_equal, one[0], other[0])


def test_no_chunk_is_sent_after_the_one_that_was_on_its_way(system, places, monkeypatch):
    firsts, train_chunk = [], streaming._train_chunk

    def watched(states, keys, chunk, rates, active, first, num, **options):
        firsts.append(first)
        return train_chunk(states, keys, chunk, rates, active, first, num, **options)

    monkeypatch.setattr(streaming, "_train_chunk", watched)
    config = TrainConfig(num_epochs=4, batch_size=8, stream_steps=1)
    plan = {"step": NUM_STEPS + 1, "leaf": min(places), "value": 0}
    with pytest.raises(training.NonFiniteError, match=r"epoch 2, step 2: the state's") as error:
        fit(system, plan, config)
    assert error.value.result.num_epochs == 1
    # Step 3 is the first whose metrics show it, for the state of step 2 alone was spoiled.
    assert firsts == [0, 1, 2, 3, 4, 0, 1, 2]


# --- toys ----------------------------------------------------------------------------------------


def toy_system(step, objective=lambda state: 0.0):
    def evaluate(state, key, batch):
        return {"objective": jnp.full(len(batch), objective(state))}

    generative = GenerativeModel(sample=None, log_evidence=None)
    return System(lambda state: generative, lambda key, batch: jnp.float32(0), step, evaluate)


ONES = np.ones((4, 1), np.float32)


def count_steps(state, key, batch, *, learning_rate):
    return state + 1, {"objective": state}


def test_what_is_kept_can_be_trained_on_and_meets_the_same_again():
    def step(state, key, batch, *, learning_rate):
        # Epoch 3 has steps 5 and 6: the first of them is bad, the second is fine again.
        return state + 1, {"objective": state, "kl": jnp.where(state == 4, jnp.nan, 0.0)}

    system = toy_system(step, lambda state: state)
    config = TrainConfig(num_epochs=3, batch_size=2)
    message = "epoch 3, step 1: train kl is not finite; the state after epoch 2 is kept"
    with pytest.raises(training.NonFiniteError, match=message) as error:
        training.fit(KEY, system, ONES, ONES, config)
    assert "\n" not in str(error.value)
    assert error.value.result.state == 4
    assert error.value.result.best_epoch == 2
    progress = error.value.result.progress
    assert (int(progress.state), int(progress.epoch)) == (4, 2)
    with pytest.raises(training.NonFiniteError, match=message):
        training.fit(KEY, system, ONES, ONES, config, resume_from=progress)


def test_the_last_good_epoch_is_kept_also_where_it_was_not_the_best():
    def step(state, key, batch, *, learning_rate):
        return state + 1, {"objective": jnp.where(state == 3, jnp.inf, 0.0)}

    system = toy_system(step, lambda state: -state)
    with pytest.raises(training.NonFiniteError, match="epoch 4, step 1") as error:
        training.fit(KEY, system, ONES, ONES, TrainConfig(num_epochs=9, batch_size=4))
    result = error.value.result
    assert (result.state, result.best_epoch, result.progress.state) == (1, 1, 3)
    assert len(result.history) == result.num_epochs == 3


def test_validation_that_is_not_finite_stops():
    system = toy_system(count_steps, lambda state: jnp.where(state == 3, jnp.inf, state))
    with pytest.raises(
        training.NonFiniteError, match="epoch 3: validation objective is not finite"
    ) as error:
        training.fit(KEY, system, ONES, ONES, TrainConfig(num_epochs=4, batch_size=4))
    assert error.value.result.state == 2


def test_a_first_epoch_that_goes_wrong_leaves_nothing():
    def step(state, key, batch, *, learning_rate):
        return state / 0, {"objective": 0.0}

    with pytest.raises(
        training.NonFiniteError, match=r"epoch 1, step 1: the state's only leaf .* nothing is kept"
    ):
        training.fit(KEY, toy_system(step), ONES, ONES, TrainConfig(batch_size=4))


@pytest.mark.parametrize("debug_nans", [False, True])
def test_the_operation_that_makes_nan_is_found_where_somebody_asks(debug_nans):
    def step(state, key, batch, *, learning_rate):
        loss = jnp.log(2.5 - state)  # state 3 has no logarithm
        return state + 1, {"objective": loss * batch.mean()}

    config = TrainConfig(num_epochs=9, batch_size=1)
    with pytest.raises(training.NonFiniteError, match="step 4: train objective") as error:
        training.fit(KEY, toy_system(step), ONES, ONES, config, debug_nans=debug_nans)
    made = r"first made by log \(test_bad_numbers\.py:\d+: loss = jnp\.log\(2\.5 - state\)"
    assert bool(re.search(made, str(error.value))) == debug_nans


@pytest.mark.parametrize("name", ["ppca", "factor_analysis", "mixture"])
def test_an_exact_fit_that_overflows_is_no_result(name):
    """Squares of such pixels are infinite; each seed is named, and none is reported."""
    config = SYSTEMS[name].config(2)
    system = build(name, config, ObservationSpec(6, "gaussian"))
    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32) * 1e20
    reported = []
    with pytest.raises(training.NonFiniteError, match=r"the fit: .* is no number") as error:
        training.fit(KEY, system, x, x, CONFIG, on_epoch=reported.append)
    assert reported == []
    assert error.value.result.num_epochs == 0
