"""Inferences stopped between any two chunks go on from the disk and end as those that were not."""

import dataclasses
import shutil
import signal

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial

import bayes_jax
from bayes_jax import InputError, mcmc
from bayes_jax.calibration import Calibration
from bayes_jax.estimates import EvidenceKind
from bayes_jax.model import LatentModel
from vae_jax import checkpoints, resumption
from vae_jax.interruption import Interrupted
from vae_jax.resumption import Store, Work, carry_out, open_store
from vae_jax.resumption.leaves import fingerprint, plain, rebuilt
from vae_jax.resumption.outlines import pack, unpack

KEY = jax.random.key(0)
LOADING = jax.random.normal(jax.random.key(1), (6, 2))
X = 0.5 * jax.random.normal(jax.random.key(2), (4, 6))


def likelihood(loading, z):
    return dist.Normal(jnp.tanh(loading @ z), 0.3).to_event(1)


def encoder(loading, x):
    return dist.Normal(0.3 * x @ loading, 0.4).to_event(1)


def other_likelihood(loading, z):
    return dist.Normal(loading @ z, 0.3).to_event(1)


def model(loading=LOADING, family=dist.Normal, function=likelihood):
    prior = family(jnp.zeros(2), 1.0).to_event(1)
    return LatentModel(prior, Partial(function, loading))


GUIDE = Partial(encoder, LOADING)
FEW = {"num_chains": 4, "batch_size": 2}
# Engine, its options, and how many chunks they make.
CASES = {
    "hmc": ("sample_posterior", {"guide": GUIDE, "num_warmup": 31, "num_samples": 33, **FEW}, 5),
    "far": ("sample_posterior", {"num_warmup": 40, "num_samples": 20, **FEW}, 3),
    "nuts": (
        "sample_posterior",
        {"kernel": "nuts", "num_warmup": 25, "num_samples": 8, "num_chains": 2},
        3,
    ),
    "annealing": ("annealed_draws", {"guide": GUIDE, "num_temperatures": 40, **FEW}, 3),
    "q*": ("fit_posterior", {"guide": GUIDE, "num_steps": 40, "batch_size": 3}, 2),
    "flow": ("fit_posterior", {"family": "flow", "num_steps": 20, "batch_size": 2}, 2),
}
LONG = ("nuts", "flow")


def long(name):
    return pytest.param(name, marks=pytest.mark.long)


def run(name, store, *, key=KEY, of=None, x=X, **changes):
    engine, options, _ = CASES[name]
    return getattr(resumption, engine)(store, key, of or model(), x, **{**options, **changes})


def eager(store):
    """With a save after every chunk."""
    return dataclasses.replace(store, seconds_between=0.0)


def stop_at(chunk):
    """A signal that comes in that chunk, counted from now."""
    calls = iter(range(1, 1000))
    return lambda: signal.SIGTERM if next(calls) == chunk else None


def assert_same(left, right):
    paths = jax.tree_util.tree_flatten_with_path(left)[0]
    for (path, ours), theirs in zip(paths, jax.tree.leaves(right), strict=True):
        np.testing.assert_array_equal(ours, theirs, err_msg=jax.tree_util.keystr(path))


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """What an engine gives that nothing stops, made once."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = run(name, Store(tmp_path_factory.mktemp("unbroken")))
        return made[name]

    return get


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hmc", "far", "annealing", "q*", *map(long, LONG)])
def test_stopped_in_every_chunk_it_ends_as_unbroken(unbroken, tmp_path, name):
    """Through warm-up and draws, moves, blocks: one call for each chunk, each from the disk."""
    num_chunks = CASES[name][-1]
    store = dataclasses.replace(Store(tmp_path), asked_to_stop=lambda: signal.SIGTERM)
    for chunk in range(1, num_chunks + 1):
        with pytest.raises(Interrupted, match=f"SIGTERM: chunk {chunk} of {num_chunks} is saved"):
            run(name, store)
    assert_same(run(name, store), unbroken(name))


class Killed(Exception):
    """Stands for a process that is no more."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hmc", "annealing", "q*"])
def test_killed_in_any_chunk_it_ends_as_unbroken(unbroken, tmp_path, name):
    """The chunk itself is lost, not what was saved before it."""
    for chunk in range(1, CASES[name][-1] + 1):
        told = []

        def die(line, chunk=chunk, told=told):
            told.append(line)
            if len(told) == chunk:
                raise Killed

        store = eager(Store(tmp_path / str(chunk)))
        with pytest.raises(Killed):
            run(name, dataclasses.replace(store, note=die))
        first = []
        found = run(name, dataclasses.replace(store, note=first.append))
        assert first[0].startswith(f"{chunk}/"), "what was saved is not done again"
        assert_same(found, unbroken(name))


def test_a_kill_between_two_saves_costs_what_came_after_the_first(unbroken, tmp_path):
    """Some chunks share a save, and the draws of the warm-up's last save are none."""
    for chunk in (2, 3):  # draws begin in the third
        with pytest.raises(Interrupted):
            run("hmc", dataclasses.replace(Store(tmp_path), asked_to_stop=stop_at(chunk)))
    assert checkpoints.steps(tmp_path / "kept") == [2, 5]
    assert_same(run("hmc", Store(tmp_path)), unbroken("hmc"))


# Of annealing below, from both sides.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["hmc", "q*", *(long(name) for name in ("far", *LONG))])
def test_the_numbers_are_those_of_the_plain_engine(tmp_path, monkeypatch, name):
    """Up to rounding: few moves, for a decision that it turns sends a chain elsewhere for good."""
    few = {"num_warmup": 4, "num_samples": 4}
    engine, options, _ = CASES[name]
    options = {option: few.get(option, value) for option, value in options.items()}
    monkeypatch.setattr(resumption.engines, "MOVES_PER_CHUNK", 2)
    found = getattr(resumption, engine)(Store(tmp_path), KEY, model(), X, **options)
    plain = getattr(bayes_jax, engine)(KEY, model(), X, **options)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(plain), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=2e-3)


@pytest.mark.slow
def test_a_sandwich_goes_on_on_either_side(tmp_path, monkeypatch):
    """To the numbers of the plain engine: few moves, for the reason above."""
    monkeypatch.setattr(resumption.engines, "MOVES_PER_CHUNK", 2)
    z, x = bayes_jax.simulate(jax.random.key(3), model(), 4)
    options = {"guide": GUIDE, "num_temperatures": 5, **FEW}
    plain = bayes_jax.evidence_sandwich(KEY, model(), z, x, **options)

    def sandwich(store):
        return resumption.evidence_sandwich(store, KEY, model(), z, x, **options)

    store = dataclasses.replace(Store(tmp_path), asked_to_stop=lambda: signal.SIGINT)
    for place in ("there", "there", "back", "back"):
        with pytest.raises(Interrupted, match=f"SIGINT: chunk . of . of {place} is saved"):
            sandwich(store)
    found = sandwich(store)
    assert found.kind == EvidenceKind.SANDWICH
    np.testing.assert_allclose(found.lower, plain.lower, atol=1e-3)
    np.testing.assert_allclose(found.upper, plain.upper, atol=1e-3)


def test_going_on_compiles_nothing(tmp_path):
    """What comes from the disk is to the compiler what was never there."""
    run("hmc", Store(tmp_path / "whole"))
    programs = (mcmc.chains._warm_up, mcmc.chains._sample)
    num_programs = [program._cache_size() for program in programs]
    for chunk in (1, 3):
        with pytest.raises(Interrupted):
            run("hmc", dataclasses.replace(Store(tmp_path), asked_to_stop=stop_at(chunk)))
    run("hmc", Store(tmp_path))
    assert [program._cache_size() for program in programs] == num_programs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_samples": 34}, "options.num_samples is 33 there, 34 here"),
        ({"num_chains": 5}, "options.num_chains is 4 there, 5 here"),
        ({"batch_size": 4}, "options.batch_size is 2 there, 4 here"),
        ({"x": X[:2]}, r"x is 'float32\[4, 6\] \w+' there, 'float32\[2, 6\] \w+' here"),
        (
            {"x": X.astype(jnp.float16)},
            r"x is 'float32\[4, 6\] \w+' there, 'float16\[4, 6\] \w+' here",
        ),
        (
            {"of": model(LOADING * 1.01)},
            r"model.likelihood\S+ is 'float32\[6, 2\] \w+' there, 'float32\[6, 2\]",
        ),
        ({"of": model(family=dist.Laplace)}, "kinds.model is .*Normal.* there, .*Laplace"),
        ({"of": model(function=other_likelihood)}, "kinds.model is .* there, .*other_likelihood"),
        ({"key": jax.random.key(9)}, r"key is 'uint32\[2\] \w+' there, 'uint32\[2\]"),
        ({"guide": None}, "options.far_starts is False there, True here"),
    ],
)
def test_other_work_is_refused_with_what_differs(half_done, changes, message):
    with pytest.raises(InputError, match=message) as found:
        run("hmc", Store(half_done), **changes)
    assert "--overwrite" in str(found.value)
    assert "\n" not in str(found.value)
    with pytest.raises(InputError, match="engine is 'sample_posterior' there, 'annealing' here"):
        run("annealing", Store(half_done))


@pytest.fixture
def half_done(tmp_path):
    with pytest.raises(Interrupted):
        run("hmc", dataclasses.replace(eager(Store(tmp_path)), asked_to_stop=stop_at(4)))
    assert checkpoints.steps(tmp_path / "state") == [3, 4]
    return tmp_path


def test_a_folder_that_is_half_deleted_is_nobodys(tmp_path):
    """Deleting begins with the folder's name, so that a kill leaves nothing to be refused."""
    root = tmp_path / "unfinished"
    open_store(root, {"a": 1}).save("state", 0, [jnp.zeros(1)], {}, keep=1)
    root.rename(tmp_path / ".unfinished-gone")
    (tmp_path / ".unfinished-gone" / "config.json").unlink()
    assert open_store(root, {"a": 2}).root == root
    assert not [*tmp_path.iterdir()]


def test_a_store_that_keeps_nothing_touches_nothing(tmp_path):
    open_store(tmp_path / "kept", {"a": 1}).save("state", 0, [jnp.zeros(1)], {}, keep=1)
    store = open_store(tmp_path / "kept", {"a": 2}, keeps=False, overwrite=True)
    assert store.once("name", lambda place: 3) == 3
    store.clear()
    assert checkpoints.steps(tmp_path / "kept" / "state") == [0]


def test_a_refused_first_save_leaves_no_folder(tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save", refuse)
    with pytest.raises(OSError, match="No space"):
        open_store(tmp_path / "root", {"a": 1}).save("state", 0, [jnp.zeros(1)], {}, keep=1)
    assert not [*tmp_path.iterdir()]


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_what_is_damaged_is_told_and_done_again(unbroken, half_done):
    """An older state where there is one; all of it, where draws are lost."""
    lines, told = [], []
    store = dataclasses.replace(Store(half_done), warn=lines.append, note=told.append)
    flip(half_done / "state" / "4" / "manifest.json")
    assert_same(run("hmc", store), unbroken("hmc"))
    assert "damaged" in lines[0]
    assert told[0].startswith("4/5")
    told.clear()
    shutil.rmtree(half_done / "kept" / "3")
    assert_same(run("hmc", store), unbroken("hmc"))
    assert any("lacks chunk 3" in line or "holds 2 chunks" in line for line in lines)
    assert told[0].startswith("1/5")


def test_a_half_written_save_is_swept(unbroken, half_done):
    (half_done / "state" / ".writing-x" / "new").mkdir(parents=True)
    assert_same(run("hmc", Store(half_done)), unbroken("hmc"))
    assert not [*half_done.rglob(".writing-*")]


def test_a_finished_result_is_not_computed_again(tmp_path):
    store, calls = Store(tmp_path), []

    def compute(place):
        calls.append(place.place)
        fitted = run("q*", eager(place.at("inner")))
        return fitted.elbo(), jnp.zeros((0, 3))

    first = store.once("q* (of 5)", compute)
    assert [path.name for path in (tmp_path / "q-of-5").iterdir()] == ["result"]
    second = store.once("q* (of 5)", compute)
    assert calls == ["q-of-5"]
    assert second[0].kind is EvidenceKind.LOWER
    assert_same(first[:1] + first[1:], second)
    lines = []
    flip(tmp_path / "q-of-5" / "result" / "0" / "manifest.json")
    third = dataclasses.replace(store, warn=lines.append).once("q* (of 5)", compute)
    assert len(calls) == 2
    assert "done again" in lines[0]
    assert_same(first, third)


def test_a_signal_between_two_results_loses_neither(tmp_path):
    store = dataclasses.replace(Store(tmp_path), asked_to_stop=lambda: signal.SIGINT)
    with pytest.raises(Interrupted, match="SIGINT: one is saved, the same command goes on"):
        store.once("one", lambda place: (1, 2.5))
    assert Store(tmp_path).once("one", pytest.fail) == (1, 2.5)


def test_real_signals_end_the_chunk_and_are_told(tmp_path):
    """Work that nobody listens for listens by itself."""

    def advance(state, chunk):
        if chunk == 1:
            signal.raise_signal(signal.SIGTERM)
        return state + 1, state

    work = Work({}, lambda: jnp.int32(0), advance, 3, kept=0)
    with pytest.raises(Interrupted, match="SIGTERM: chunk 2 of 3 is saved") as found:
        carry_out(Store(tmp_path), work)
    assert found.value.signal == signal.SIGTERM
    state, kept = carry_out(Store(tmp_path), work)
    assert (int(state), [int(each) for each in kept]) == (3, [0, 1, 2])


def test_the_order_of_leaves_is_that_of_no_process(monkeypatch):
    """NumPyro's is that of a set of names, which another start of Python gives another order."""
    tree = {"prior": dist.Normal(jnp.float32(1.0), jnp.float32(2.0)).expand([3]).to_event(1)}
    before, leaves = fingerprint(tree), plain(tree)
    in_order = dist.Distribution.__dict__["gather_pytree_data_fields"].__func__
    turned = classmethod(lambda kind: in_order(kind)[::-1])
    monkeypatch.setattr(dist.Distribution, "gather_pytree_data_fields", turned)
    tree = {"prior": dist.Normal(jnp.float32(1.0), jnp.float32(2.0)).expand([3]).to_event(1)}
    assert fingerprint(tree) == before
    found = rebuilt(jax.eval_shape(lambda: tree), leaves)["prior"].base_dist
    np.testing.assert_array_equal(found.mean, [1.0, 1.0, 1.0])
    np.testing.assert_array_equal(found.variance, [4.0, 4.0, 4.0])


def test_seconds_of_earlier_calls_count(half_done):
    assert Store(half_done).seconds_spent() > 0
    assert Store(half_done / "nowhere").seconds_spent() == 0


def test_a_store_belongs_to_one_content(tmp_path):
    root = tmp_path / "unfinished"
    content = {"command": {"num_draws": 10, "seed": 0}, "epoch": 3}
    open_store(root, content)
    assert not root.exists()
    open_store(root, content).once("one", lambda place: 1)
    assert open_store(root, content).once("one", pytest.fail) == 1
    other = {"command": {"num_draws": 20, "seed": 0}, "epoch": 4}
    message = r"\(command.num_draws is 10 there, 20 here; epoch is 3 there, 4 here\)"
    with pytest.raises(InputError, match=message):
        open_store(root, other)
    assert open_store(root, other, overwrite=True).once("one", lambda place: 2) == 2


def test_results_come_back_from_the_disk_as_they_were(tmp_path):
    values = np.array([0.1, np.nan, 1e-300])
    case = Calibration(("z[0]", "log p(x|z)"), np.arange(4).reshape(2, 2), 8, values, values)
    evidence = bayes_jax.estimates.exact_evidence(jnp.arange(3.0))
    value = {"case": case, "evidence": evidence, "list": [None, True, 1.5, "a"], "pair": (1, ())}
    Store(tmp_path).once("one", lambda place: value)
    found = Store(tmp_path).once("one", pytest.fail)
    assert found["case"].chi_square.dtype == np.float64
    assert isinstance(found["evidence"].kind, EvidenceKind)
    assert isinstance(found["case"], Calibration)
    assert found["list"] == value["list"]
    assert found["pair"] == value["pair"]
    assert_same(found, value)


def test_outlines_hold_and_name_results_only():
    with pytest.raises(TypeError, match="a Normal has no outline"):
        pack((dist.Normal(0.0, 1.0),))
    for name in ("os:system", "bayes_jax.model:log_joint", "vae_jax.records:os.system"):
        with pytest.raises(InputError, match="is no result of this project"):
            unpack({"result": name, "parts": []}, [])
