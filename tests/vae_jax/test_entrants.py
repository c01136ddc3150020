"""Who takes part: every system of the track, with the epochs or the seconds of another."""

import dataclasses

import pytest

from bayes_jax import InputError
from vae_jax import systems
from vae_jax.comparison.entrants import (
    CORE,
    ENTRANTS,
    equal_epochs,
    equal_seconds,
    impatient,
    track,
)
from vae_jax.configs import DataConfig, ObservationSpec, TrainConfig
from vae_jax.training import EpochReport

LOOP = TrainConfig(num_epochs=1000, patience=50)


def history(*seconds):
    """Epochs that took so long each."""
    return tuple(
        EpochReport(epoch, {}, {}, False, each, epoch, 1.0, None)
        for epoch, each in enumerate(seconds, 1)
    )


@pytest.mark.parametrize("head", ["bernoulli", "gaussian"])
def test_every_entrant_of_a_track_can_be_built_and_named(head):
    spec = ObservationSpec(64, head, image_shape=(8, 8))
    titles = set()
    for name in track(head, ("all",)):
        entrant = ENTRANTS[name]
        config = entrant.config(6)
        assert systems.build(entrant.system, config, spec).generative
        titles.add(entrant.titled(config, head))
    assert len(titles) == len(track(head, ("all",)))
    assert {*CORE[head]} <= {*track(head, ("all",))}


def test_every_system_of_images_takes_part():
    of_images = {name for name, row in systems.SYSTEMS.items() if row.data is DataConfig}
    assert {entrant.system for entrant in ENTRANTS.values()} == of_images


def test_each_is_trained_after_those_it_needs():
    names = list(ENTRANTS)
    for name, entrant in ENTRANTS.items():
        assert all(names.index(other) < names.index(name) for other in entrant.needs)
    assert track("bernoulli", ("mixture", "deep_latent", "vae")) == (
        "vae",
        "deep_latent",
        "mixture",
    )


def test_some_have_less_patience_and_none_more():
    assert impatient(10, LOOP, {}) == dataclasses.replace(LOOP, patience=10)
    brief = dataclasses.replace(LOOP, patience=3)
    assert impatient(10, brief, {}) == brief


def test_a_falling_rate_spans_no_other_epochs():
    loop = dataclasses.replace(LOOP, schedule="cosine")
    with pytest.raises(InputError, match="schedule is cosine: expected constant"):
        equal_epochs("vae", loop, {"vae": [history(1, 1)]})


def test_equal_epochs_are_those_of_the_other_in_the_mean_over_seeds():
    loop = equal_epochs("vae", LOOP, {"vae": [history(9, 1, 1), history(9, 1, 1, 1, 1)]})
    assert loop == dataclasses.replace(LOOP, num_epochs=4, patience=4)


def test_equal_seconds_leave_out_what_compiles():
    histories = {"vae": [history(90, *[1] * 39)], "deep_latent": [history(50, 8, 8)]}
    assert equal_seconds("vae", "deep_latent", LOOP, histories).num_epochs == 40 / 8
    histories["deep_latent"] = [history(50, 300, 300)]
    assert equal_seconds("vae", "deep_latent", LOOP, histories).num_epochs == 1


@pytest.mark.parametrize(
    ("head", "names", "message"),
    [
        ("bernoulli", ("ppca",), "'ppca' is no bernoulli model"),
        ("gaussian", ("hmm",), "'hmm' is no gaussian model"),
        ("gaussian", ("vaee",), "'vaee' is no gaussian model"),
        ("gaussian", ("vae", "deep_latent_seconds"), "deep_latent_seconds takes its budget from"),
    ],
)
def test_wrong_requests_are_named(head, names, message):
    with pytest.raises(InputError, match=message):
        track(head, names)
