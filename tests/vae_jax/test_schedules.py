"""Learning rates against the published table and closed forms."""

import numpy as np
import pytest

from vae_jax.configs import TrainConfig
from vae_jax.schedules import learning_rate


def rates(schedule, num_epochs):
    config = TrainConfig(num_epochs, learning_rate=2e-3, schedule=schedule)
    return np.array([learning_rate(config, epoch) for epoch in range(1, num_epochs + 1)])


def test_staged_is_the_published_schedule():
    """3^i epochs at 10^(-i / 7), i = 0 ... 7: 3280 epochs (Burda et al. 2016, section 5)."""
    expected = np.concatenate([np.full(3**i, 2e-3 * 10 ** (-i / 7)) for i in range(8)])
    np.testing.assert_allclose(rates("staged", 3280), expected, rtol=1e-12)


@pytest.mark.parametrize("num_epochs", [7, 100, 820, 10_000])
def test_a_staged_run_of_any_length_starts_at_its_rate_and_falls(num_epochs):
    found = rates("staged", num_epochs)
    assert found[0] == 2e-3
    assert np.all(np.diff(found) <= 0)
    assert found[-1] == pytest.approx(2e-4)
    # Two thirds of a run are its last stage.
    assert np.mean(found < 2.01e-4) == pytest.approx(2 / 3, abs=1 / num_epochs)


def test_cosine_falls_to_nothing_over_the_run():
    found = rates("cosine", 200)
    assert found[0] == 2e-3
    assert found[100] == pytest.approx(1e-3)
    assert 0 < found[-1] < 1e-6


def test_constant_is():
    assert set(rates("constant", 5)) == {2e-3}
