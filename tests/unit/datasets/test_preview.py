import pytest

from heimdall.datasets.build import build_synthetic
from heimdall.datasets.preview import preview_synthetic
from heimdall.datasets.storage import open_dataset
from heimdall.domain.datasets import SyntheticDatasetConfig
from heimdall.domain.errors import InvalidInputError


def configure(**changes):
    return SyntheticDatasetConfig(name="s", **{"waveform": "flat-12k5", "margin_km": 0.0, **changes})


def test_the_preview_promises_what_the_data_set_then_has(tmp_path):
    config = configure(num_examples=3000)
    build_synthetic(config, tmp_path, lambda share: None)
    promised, kept = preview_synthetic(config, 30.0).physical_limit, open_dataset(tmp_path).manifest.physical_limit
    assert promised.error_p68_m == pytest.approx(kept.error_p68_m, rel=0.1)
    assert promised.assumptions == kept.assumptions


def test_more_receivers_and_better_clocks_reach_further():
    preview = preview_synthetic(configure(), 30.0)
    errors = [row.error_p68_m for row in preview.by_receivers]
    needs = [row.timing_needed_ns for row in preview.by_receivers if row.timing_needed_ns is not None]
    assert errors == sorted(errors, reverse=True)
    assert needs == sorted(needs)
    assert sum(row.share for row in preview.by_receivers) <= 1
    slow = preview_synthetic(configure(clock_sigma_ns=1000), 30.0)
    assert slow.physical_limit.error_p68_m > 2 * preview.physical_limit.error_p68_m
    assert slow.arrival_sigma_ns["total"] > slow.arrival_sigma_ns["clock"] == 1000


def test_the_timing_that_is_needed_grows_with_the_radius_and_reaches_it():
    near, far = (preview_synthetic(configure(), target_m) for target_m in (30.0, 300.0))
    for a, b in zip(near.by_receivers, far.by_receivers, strict=True):
        if a.timing_needed_ns is not None:
            assert b.timing_needed_ns == pytest.approx(10 * a.timing_needed_ns)


def test_the_sentences_say_what_is_needed_what_is_reached_and_what_costs_most():
    sentences = preview_synthetic(configure(nlos_sigma_ns=500), 30.0).sentences
    assert sentences[0].startswith("±30 m needs ")
    assert "with four receivers; yours have" in sentences[0]
    assert any("Excess delays cost most" in sentence for sentence in sentences)
    assert any(
        "The clocks cost most: 1 ms of 1 ms" in sentence for sentence in preview_synthetic(configure(clock_sigma_ns=1e6), 30.0).sentences
    )


def test_a_network_that_hears_nothing_is_told_what_to_change():
    with pytest.raises(InvalidInputError, match="raise the transmit power"):
        preview_synthetic(configure(tx_power_min_dbm=-30, tx_power_max_dbm=-30, path_loss_exponent=6), 30.0)
