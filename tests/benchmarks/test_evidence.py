"""What the evidence benchmark ends with: a summary and two figures of rows that were made up."""

import importlib
import itertools
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def evidence(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("evidence")


def bounds(evidence) -> list[dict]:
    methods = importlib.import_module("evidence_rows").estimators(None, None)
    return [
        {
            "study": "bounds",
            "method": method,
            "log_prob": -80.0 + place,
            "stderr": 0.1,
            "decoder_calls": 1000 * (place + 1),
            "share_of_gemm": 0.75,
            "gradients_per_second": 60000.0,
        }
        for place, method in enumerate(methods)
    ]


def scaling() -> list[dict]:
    return [
        {"study": "scaling", "method": f"twice the {name}", "ratio": ratio}
        for name, ratio in (("chains", 1.5), ("images", 2.25))
    ]


def widths(evidence) -> list[dict]:
    methods = [
        *(evidence.from_guide(num) for num in evidence.LENGTHS),
        *(evidence.from_prior(schedule) for schedule in evidence.SCHEDULES),
        f"{evidence.PUBLISHED}, T = 324",
    ]
    return [
        {
            "study": "width",
            "method": method,
            "width": 0.1 * (place + 1),
            "stderr": 0.01,
            "decoder_calls": 2000 * (place + 1),
        }
        for place, method in enumerate(methods)
    ]


def peers(evidence) -> list[dict]:
    hands = ("", "gradient by hand, ")
    names = [
        "ours",
        *(f"PyTorch, {hand}{how}" for hand, how in itertools.product(hands, ("eager", "compiled"))),
        evidence.HALF,
        "PyTorch, bfloat16 forces, compiled",
        "PyTorch, bfloat16 forces by hand, compiled",
    ]
    rows = [
        {"study": "peers", "method": name, "gradients_per_second": 80000.0 - 5000 * place}
        for place, name in enumerate(names)
    ]
    tfp = {"difference": -0.25, "stderr_difference": 0.05, "times_the_calls": 1.4}
    names = ("TFP from the guide, T = 100", "TFP from the prior, T = 1000")
    rate = {"gradients_per_second": 50000.0}
    return rows + [{"study": "peers", "method": name, **rate, **tfp} for name in names]


def test_summary_says_what_the_rows_say(evidence):
    rows = [*bounds(evidence), *widths(evidence), *scaling()]
    text = evidence.summary(rows)
    assert text.startswith("sandwich 0.3000 ± 0.0100 nat wide from the guide at 100 temperatures, ")
    assert "0.4000 ± 0.0100 (sigmoid), 0.5000 ± 0.0100 (adaptive) from the prior at 1000" in text
    assert "as published 0.600 ± 0.010 at 6 times the decoder calls that leave ours at 0.1" in text
    assert "nats: ELBO 4.00, importance, K = 50 3.00, importance, K = 5000 2.00; twice" in text
    assert "cost at most 2.25 times; " in text
    assert text.endswith("75% of the matrix products' ceiling")
    with_peers = evidence.summary([*rows, *peers(evidence)])
    assert with_peers.startswith(text)
    assert "\n" not in with_peers
    assert "1.07 times batched PyTorch's rate, 1.23 times that with a gradient" in with_peers
    assert (
        "from the guide, T = 100 -0.250 ± 0.050 nat at 1.4 times our calls, from the prior"
    ) in with_peers
    assert with_peers.endswith("50,000 gradients/s, ours 60,000")


def test_figures_show_every_row(evidence):
    rows = [*bounds(evidence), *widths(evidence)]
    for draw, of_a_study in ((evidence.bounds_figure, bounds), (evidence.widths_figure, widths)):
        figure = draw(rows, "digits")
        labels = [text.get_text() for text in figure.legends[0].get_texts()]
        methods = [row["method"] for row in of_a_study(evidence)]
        assert all(any(label.startswith(method) for label in labels) for method in methods)
        assert len(labels) == len(methods)


def test_rows_tell_how_they_differ_from_ours(evidence):
    rivals = importlib.import_module("rivals")
    found = rivals._beside("ours", np.array([1.0, 2.0, 6.0]), np.array([0.0, 2.0, 4.0]))
    assert found["beside"] == "ours"
    assert found["difference"] == pytest.approx(1.0)
    assert found["stderr_difference"] == pytest.approx(1.0 / np.sqrt(3))
