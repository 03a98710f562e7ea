import numpy as np
import pytest

from heimdall.rf.strength import fit_strength_law, log_density, report_sensitivity, report_strength
from tests.unit.rf.strengths import FLOOR_DBM, simulate_floor


def test_a_strong_signal_is_reported_as_it_is_and_a_weak_one_as_the_floor():
    signal = np.array([-40.0, -95.0, -160.0])
    np.testing.assert_allclose(report_strength(signal, -95.0), [-40.0, -95.0 + 10 * np.log10(2), -95.0], atol=1e-4)
    np.testing.assert_allclose(report_sensitivity(signal, -95.0), [1.0, 0.5, 0.0], atol=1e-5)


def test_the_sensitivity_is_the_slope_of_the_report():
    signal, step = np.linspace(-120, -60, 40), 1e-4
    slope = (report_strength(signal + step, -95.0) - report_strength(signal - step, -95.0)) / (2 * step)
    np.testing.assert_allclose(report_sensitivity(signal, -95.0), slope, atol=1e-6)


@pytest.mark.parametrize("mean_dbm", [-60.0, -90.0, -98.0, -130.0])
def test_the_density_of_a_report_adds_up_to_one(mean_dbm):
    reported = np.arange(-110.0, 0.0, 0.05)
    density = np.exp(log_density(reported, np.full_like(reported, mean_dbm), 8.0, -95.0, 1.0))
    assert density.sum() * 0.05 == pytest.approx(1.0, abs=1e-3)


def test_the_density_agrees_with_a_simulation_near_the_floor():
    generator = np.random.default_rng(0)
    reported = report_strength(generator.normal(-93.0, 8.0, 200_000), -95.0) + generator.normal(0, 1.0, 200_000)
    edges = np.arange(-97.0, -70.0, 3.0)
    fine = np.arange(-97.0, -70.0, 0.05) + 0.025
    density = np.exp(log_density(fine, np.full_like(fine, -93.0), 8.0, -95.0, 1.0)).reshape(len(edges), -1).sum(axis=1) * 0.05
    share = np.histogram(reported, np.append(edges, -70.0))[0] / len(reported)
    np.testing.assert_allclose(density, share, atol=0.03)


def test_the_law_is_found_again_through_the_floor():
    observations, target, truth = simulate_floor(1500, field_db=0.0)
    law = fit_strength_law(observations, target)
    assert law.is_known.all()
    np.testing.assert_allclose(law.floor_dbm, FLOOR_DBM, atol=4.0)  # some receivers never come down to it
    np.testing.assert_allclose(law.offset_dbm, truth, atol=4.0)
    np.testing.assert_allclose(law.slope_db, -38.0, atol=8.0)
    np.testing.assert_allclose(law.jitter_db, 1.0, atol=0.4)
