"""What must hold of weighted chains, as checks: of the code as it is, and of bugs planted in it."""

import jax
import numpy as np
import pytest

from bayes_jax import annealed_draws, annealing
from bayes_jax.annealing.chains import joint_density, start_forward, walk
from bayes_jax.annealing.moves import TRANSITIONS

NUM_CHAINS, ROW = 8_000, 3


@pytest.fixture
def check_mean_weight():
    """E[w] = p(x) at 8 temperatures, where every weight counts: signs and normalisers show."""

    def check(case, *, from_guide, transition="hmc"):
        draws = annealed_draws(
            jax.random.key(0),
            case.model,
            case.x[ROW : ROW + 1],
            guide=case.guide if from_guide else None,
            num_chains=NUM_CHAINS,
            num_temperatures=8,
            transition=transition,
        )
        log_evidence = float(case.log_evidence[ROW])
        relative = np.exp(np.asarray(draws.log_weight[0], np.float64) - log_evidence)
        error = relative.std(ddof=1) / np.sqrt(NUM_CHAINS)
        assert abs(relative.mean() - 1) < 4 * error
        assert error < 0.05
        weighted = np.asarray(draws.mean()[0], np.float64)
        scale = np.sqrt(np.diag(case.covariance[ROW]))
        assert np.all(np.abs(weighted - case.mean[ROW]) < 6 * scale * error + 0.02 * scale)

    return check


@pytest.fixture
def check_walk_is_blind(monkeypatch):
    """Steps are read off the table, and where one chain stands moves no other."""

    def check(case):
        density = joint_density(case.model, case.x[0])
        settings = annealing.Settings(num_chains=3, num_temperatures=12)
        betas = annealing.sigmoid_schedule(12)
        options = {"guide": None, "betas": betas, "settings": settings}
        path = annealing.make_path(jax.random.key(0), case.model, density, case.x[0], **options)
        taken, move = [], TRANSITIONS["hmc"].move

        def spy(key, target, path, points, beta, step_size, num_leapfrogs):
            jax.debug.callback(lambda *pair: taken.append(pair), beta, step_size, ordered=True)
            return move(key, target, path, points, beta, step_size, num_leapfrogs)

        monkeypatch.setitem(TRANSITIONS, "hmc", TRANSITIONS["hmc"]._replace(move=spy))
        ends = []
        for shift in (0.0, 3.0):
            chains = start_forward(jax.random.key(1), density, path, settings)
            target = TRANSITIONS["hmc"].target(density, path.start)
            moved = chains.points.position.at[1].add(shift)
            chains = chains._replace(points=jax.vmap(target.start)(moved))
            ends.append(jax.block_until_ready(walk(density, chains, settings)))
        jax.effects_barrier()
        assert len(taken) == 2 * 11
        for beta, step_size in taken:
            assert float(step_size) == pytest.approx(float(path.step_size(beta)), rel=1e-5)
        others = np.array([0, 2])
        for left, right in zip(*map(jax.tree.leaves, (e.points for e in ends)), strict=True):
            np.testing.assert_allclose(left[others], right[others], rtol=1e-4, atol=1e-4)
        assert not np.allclose(ends[0].log_weight[1], ends[1].log_weight[1])

    return check
