"""Sharding on the one device of a test process: the same results, checks, one trace.

Several devices and several processes are in tests/reliability/test_many_devices.py.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial

from bayes_jax import Evidence, LatentModel, evidence_sandwich, importance_draws, simulate
from bayes_jax.errors import InputError
from bayes_jax.estimates import EvidenceKind
from bayes_jax.importance import importance_bound
from vae_jax import trained, training
from vae_jax.arguments import parse_train
from vae_jax.configs import (
    ConfigError,
    DataConfig,
    DistributedConfig,
    MixtureConfig,
    TrainConfig,
)
from vae_jax.data.arrays import load
from vae_jax.runs import RunConfig
from vae_jax.sharding import observations, placement, processes

KEY = jax.random.key(3)
traced = []


def decode(weights, z):
    traced.append(z)
    return dist.Bernoulli(logits=weights @ z).to_event(1)


def encode(weights, x):
    return dist.Normal(x @ weights, 1.0).to_event(1)


def a_model(scale=1.0):
    weights = scale * jnp.asarray(np.random.default_rng(0).normal(size=(5, 2)), jnp.float32)
    prior = dist.Normal(jnp.zeros(2), 1.0).to_event(1)
    return LatentModel(prior, Partial(decode, weights)), Partial(encode, 0.1 * weights)


@pytest.fixture
def mesh():
    return placement.make_mesh(1)


@pytest.fixture
def devices(monkeypatch):
    """Pretend that there are so many, in so many processes."""

    def pretend(num, num_processes=1):
        monkeypatch.setattr(jax, "device_count", lambda: num)
        monkeypatch.setattr(jax, "process_count", lambda: num_processes)

    return pretend


# --- engines -------------------------------------------------------------------------------------


def test_an_engine_spread_over_a_mesh_finds_what_it_finds_without(mesh):
    model, guide = a_model()
    _, x = simulate(KEY, model, 6)
    options = {"guide": guide, "num_samples": 20, "batch_size": 4, "index_offset": 11}
    found = observations.over_observations(importance_bound, mesh)(KEY, model, x, **options)
    expected = importance_bound(KEY, model, x, **options)
    assert isinstance(found, Evidence)
    assert found.kind is EvidenceKind.LOWER
    np.testing.assert_allclose(found.lower, expected.lower, rtol=1e-6)


def test_other_values_trace_nothing(mesh):
    engine = observations.over_observations(importance_draws, mesh)
    for scale in (1.0, 2.0):
        model, guide = a_model(scale)
        x = np.full((4, 5), scale == 1.0, np.float32)
        engine(jax.random.key(int(scale)), model, x, guide=guide)
        if scale == 1.0:
            first = len(traced)
    assert len(traced) == first > 0


def test_values_are_checked_before_they_are_traced(mesh):
    model, guide = a_model()
    engine = observations.over_observations(importance_draws, mesh)
    x = np.zeros((4, 5), np.float32)
    x[2] = 0.5
    with pytest.raises(InputError, match=r"x\[2\] lies outside the support"):
        engine(KEY, model, x, guide=guide)
    sandwich = observations.over_observations(evidence_sandwich, mesh)
    with pytest.raises(InputError, match="leading axes"):
        sandwich(KEY, model, np.zeros((3, 2), np.float32), np.zeros((4, 5), np.float32))


def test_padding_repeats_the_last_row():
    rows = (np.arange(6).reshape(3, 2), jnp.arange(3))
    left, right = observations._padded(rows, 2)
    assert left.tolist() == [[0, 1], [2, 3], [4, 5], [4, 5], [4, 5]]
    assert right.tolist() == [0, 1, 2, 2, 2]


def test_one_device_calls_the_engine_itself():
    called = []
    observations.gathering(lambda *args, **options: called.append((args, options)))(1, 2, a=3)
    assert called == [((1, 2), {"a": 3})]


# --- where arrays lie ----------------------------------------------------------------------------


def test_one_device_changes_nothing():
    tree = {"a": jnp.ones(3), "b": 2}
    assert placement.mesh_for_batches(7) is None
    assert placement.idle_devices(7) is None
    assert placement.replicate(tree, None) is tree
    assert placement.spread(tree, None) is placement.everywhere(tree, None) is tree
    assert placement.local(tree) == tree


def test_rows_are_gathered_for_a_mesh_as_for_a_device(mesh):
    data = {"x": np.arange(20, dtype=np.uint8).reshape(10, 2), "row": np.arange(10)}
    rows = np.random.default_rng(0).integers(0, 10, (2, 3, 4))
    found = (placement.gather_rows(data, rows, where) for where in (None, mesh))
    jax.tree.map(np.testing.assert_array_equal, *found)


@pytest.mark.parametrize(("batch_size", "used"), [(128, 4), (32, 4), (7, 1), (18, 6), (15, 5)])
def test_a_batch_uses_the_most_devices_that_divide_it(devices, batch_size, used):
    devices(6)
    line = placement.idle_devices(batch_size)
    assert (line is None) == (used == 6)
    assert line is None or f"batch_size {batch_size} uses {used} of 6 devices" in line


def test_processes_share_every_batch(devices):
    devices(4, num_processes=2)
    with pytest.raises(InputError, match=r"batch_size is 30, .* expected a multiple of 4"):
        placement.mesh_for_batches(30)


# --- processes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coordinator": "host:1"}, "coordinator is given without distributed"),
        ({"distributed": True, "coordinator": "host:1", "process_id": 0}, "num_processes is not"),
        ({"coordinator": "host"}, "coordinator is 'host': expected HOST:PORT"),
        ({"num_processes": 0}, "num_processes is 0: expected at least 1"),
        ({"process_id": 2}, "process_id is 2: expected from 0 to 1"),
    ],
)
def test_a_wrong_start_is_named(options, message):
    if len(options) == 1 and "without" not in message:
        whole = {"distributed": True, "coordinator": "host:1", "num_processes": 2, "process_id": 0}
        options = whole | options
    with pytest.raises(ConfigError, match=message):
        DistributedConfig(**options)


def test_the_options_stand_without_a_prefix():
    options = ["--coordinator", "host:1", "--num-processes", "2", "--process-id", "1"]
    command = parse_train(["vae", "--distributed", *options])
    assert command.processes == DistributedConfig(True, "host:1", 2, 1)
    with pytest.raises(ConfigError, match="coordinator is given without distributed"):
        parse_train(["vae", *options])


def test_a_process_alone_waits_for_nobody():
    processes.start(DistributedConfig())
    processes.wait_for_all("here")
    processes.check_same(3, "a number")
    assert processes.is_first()
    assert processes.largest(-3) == -3


@pytest.fixture
def second(monkeypatch):
    """Call twice, as the first of two processes and as the second."""
    sent = []

    def gather(rows):
        sent.append(rows)
        return np.stack([sent[0], rows])

    def call(first, other):
        sent.clear()
        monkeypatch.setattr(processes.multihost_utils, "process_allgather", gather)
        monkeypatch.setattr(jax, "process_count", lambda: 2)
        first()
        return other()

    return call


def test_what_differs_between_processes_is_named(second):
    ours = {"config": {"seed": 0}, "data": "0f3a", "params": "5b7c"}

    def check(**theirs):
        return lambda: processes.check_alike(lambda: ours | theirs)

    second(check(), check())
    with pytest.raises(InputError, match="not the same in all processes: data and params; exp"):
        second(check(), check(data="0f3b", params="5b7d"))
    with pytest.raises(InputError, match="not the same in all processes: config; expected"):
        second(check(), check(config={"seed": 1}))


def test_a_process_alone_computes_no_digest():
    processes.check_alike(lambda: pytest.fail("called"))


def test_training_begins_from_the_same_config_data_and_state(second, monkeypatch, tmp_path):
    path = tmp_path / "images.npy"
    np.save(path, np.random.default_rng(0).random((60, 4, 5)) < 0.3)
    config = RunConfig("mixture", MixtureConfig(2), TrainConfig(), DataConfig(str(path)))
    dataset = load(config.data)
    monkeypatch.setattr(processes, "check_same", lambda number, what: None)

    def prepare(train=config.train, data=config.data, **changes):
        other = config._replace(train=train, data=data)
        return lambda: trained.prepare(tmp_path / "run", other, dataset._replace(**changes))

    elsewhere = dataclasses.replace(config.data, data_dir="there")
    job = second(prepare(), prepare(data=elsewhere))
    with pytest.raises(InputError, match="processes: config;"):
        second(prepare(), prepare(train=TrainConfig(seed=1)))
    with pytest.raises(InputError, match="processes: data;"):
        second(prepare(), prepare(test=1 - dataset.test))

    def fit(seed):
        key, sides = jax.random.key(seed), (dataset.train, dataset.validation)
        return lambda: training.fit(key, job.system, *sides, config.train)

    second(fit(0), fit(0))
    with pytest.raises(InputError, match="processes: the fitted state;"):
        second(fit(0), fit(1))


def test_processes_must_start_before_jax_computes():
    jnp.ones(1).block_until_ready()
    with pytest.raises(ConfigError, match=r"^distributed: .* before"):
        processes.start(DistributedConfig(True, "localhost:1", 1, 0))
