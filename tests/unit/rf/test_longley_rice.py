import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from itmlogic.lrprop import lrprop
from itmlogic.preparatory_subroutines.qlrpfl import qlrpfl
from itmlogic.statistics.avar import avar

from heimdall.domain.datasets import CoordinateFrame, SyntheticDatasetConfig
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.longley_rice import LongleyRicePathLoss, find_horizons, point_to_point_loss_db, prepare_path
from heimdall.rf.network import load_default_network
from heimdall.rf.propagation import free_space_loss_db
from heimdall.rf.synthetic import SyntheticGenerator
from heimdall.rf.terrain import Terrain

HEIGHTS_M = (2.0, 15.0)


def draw_profile(seed, num_points=90, rough_m=300.0):
    walk = np.cumsum(np.random.default_rng(seed).normal(0, 1, num_points))
    return 400 + rough_m * (walk - walk.min()) / (np.ptp(walk) + 1e-9)


def prepare_by_itmlogic(profile, distance_m):
    ours = prepare_path(profile, distance_m, HEIGHTS_M, 145.0)
    return qlrpfl({**ours, "pfl": list(ours["pfl"]), "he": None, "the": None, "dl": None})


@pytest.fixture(scope="module")
def globe(data_root):
    heights = np.load(data_root / "terrain" / "globe_nw_italy.npz")["z"].astype(np.float32)
    return Terrain("GLOBE v1", 46 - 1 / 240, 6.5 + 1 / 240, (1 / 120, 1 / 120), heights)


@given(st.integers(0, 10_000), st.floats(5e3, 150e3))
def test_horizons_are_those_of_itmlogic(seed, distance_m):
    profile = draw_profile(seed)
    ours = prepare_path(profile, distance_m, HEIGHTS_M, 145.0)
    take_off, horizon = find_horizons(profile, distance_m, HEIGHTS_M, ours["gme"])
    if sum(horizon) < 1.5 * distance_m:
        theirs = prepare_by_itmlogic(profile, distance_m)
        np.testing.assert_allclose(take_off, [theirs["the"][0], theirs["the"][1]], atol=1e-12)
        np.testing.assert_allclose(horizon, [theirs["dl"][0], theirs["dl"][1]], rtol=1e-9)


def test_beyond_the_horizon_the_loss_is_that_of_itmlogic():
    """Nearly always to the last digit: the model counts points, so the last bit of a horizon can move a fit by one of them."""
    difference_db = []
    for seed in range(150):
        profile, distance_m = draw_profile(seed), 5e3 + 900.0 * seed
        ours = prepare_path(profile, distance_m, HEIGHTS_M, 145.0)
        if sum(find_horizons(profile, distance_m, HEIGHTS_M, ours["gme"])[1]) < 1.5 * distance_m:
            excess_db, _ = avar(0.0, 0.0, 0.0, prepare_by_itmlogic(profile, distance_m))
            expected_db = excess_db + free_space_loss_db(distance_m, 145.0)
            difference_db.append(abs(point_to_point_loss_db(profile, distance_m, HEIGHTS_M, 145.0) - expected_db))
    assert len(difference_db) > 100
    assert np.quantile(difference_db, 0.8) < 1e-6
    assert max(difference_db) < 3


def test_in_sight_itmlogic_looks_at_the_last_but_one_point_and_we_at_the_last():
    """The off-by-one of itmlogic 1.2. Should a later version be right, this fails: then its preparation can be used again."""
    profile = np.full(60, 200.0)
    profile[-1] = 260.0
    ours, theirs = prepare_path(profile, 10_000.0, HEIGHTS_M, 145.0), prepare_by_itmlogic(profile, 10_000.0)
    assert ours["he"][1] > HEIGHTS_M[1] + 40
    assert theirs["he"][1] == pytest.approx(HEIGHTS_M[1], abs=3)
    there, back = (
        lrprop(0, prepare_path(one, 10_000.0, heights, 145.0)) for one, heights in ((profile, (2, 15)), (profile[::-1], (15, 2)))
    )
    assert there["aref"] == pytest.approx(back["aref"], abs=0.5)


@given(st.integers(0, 1000), st.floats(2e3, 30e3))
def test_in_sight_both_ends_are_treated_alike(seed, distance_m):
    profile = draw_profile(seed, rough_m=5.0) + np.linspace(80, 80, 90) * np.isin(np.arange(90), [0, 89])
    there = prepare_path(profile, distance_m, (10.0, 10.0), 145.0)
    back = prepare_path(profile[::-1], distance_m, (10.0, 10.0), 145.0)
    np.testing.assert_allclose(there["he"], back["he"][::-1], rtol=0.05)


def test_a_short_path_has_the_loss_of_free_space():
    assert point_to_point_loss_db(np.full(90, 100.0), 500.0, HEIGHTS_M, 145.0) == free_space_loss_db(500.0, 145.0)


@pytest.mark.shared_data
def test_over_the_real_network_the_loss_is_what_was_measured(globe):
    """73 + 49.5 log10(d) with 22.4 dB of residual over the region (physics.md, section 2); the spread is the terrain's."""
    network = load_default_network()
    flat = network.position_m[:, :2]
    drawn = np.random.default_rng(0).uniform(flat.min(axis=0), flat.max(axis=0), (150, 2))
    loss = LongleyRicePathLoss(globe, network.frame, 145.0).path_loss_db(np.column_stack([drawn, np.full(150, 300.0)]), network.position_m)
    distance_km = np.linalg.norm(drawn[:, None] - flat, axis=2) / 1e3
    assert np.median(loss - (73 + 49.5 * np.log10(distance_km))) == pytest.approx(0, abs=8)
    design = np.column_stack([np.ones(loss.size), np.log10(distance_km.ravel())])
    residual = loss.ravel() - design @ np.linalg.lstsq(design, loss.ravel(), rcond=None)[0]
    assert residual.std() == pytest.approx(22.4, rel=0.15)


@pytest.mark.shared_data
def test_as_many_are_heard_over_terrain_as_was_measured(globe):
    network = load_default_network()
    model = LongleyRicePathLoss(globe, network.frame, 145.0)
    ten_watts = {"tx_power_min_dbm": 40.0, "tx_power_max_dbm": 40.0, "shadowing_sigma_db": 6.0, "margin_km": 43.0}
    config = SyntheticDatasetConfig(name="s", num_examples=100, seed=1, min_receivers=1, **ten_watts)
    block = SyntheticGenerator(config, network, model).preview(1)
    assert (block.heard.sum(axis=1) >= 3).mean() == pytest.approx(0.44, abs=0.1)  # physics.md, section 2, over 1.85 x 3 degrees
    assert np.isfinite(block.bound_sigma_m).all()


def test_terrain_is_bilinear_and_never_invented():
    frame = CoordinateFrame(latitude=45.0, longitude=7.0)
    heights = np.add.outer(np.arange(5.0), 10 * np.arange(5.0))
    terrain = Terrain("plane", 45.2, 6.8, (0.1, 0.1), heights)
    found = terrain.elevations_m(np.array([45.2, 45.15, 45.0]), np.array([6.8, 6.85, 7.0]))
    np.testing.assert_allclose(found, [0.0, 5.5, 22.0], atol=1e-9)
    np.testing.assert_array_equal(terrain.covers(np.array([45.3, 45.0]), np.array([7.0, 7.1])), [False, True])
    with pytest.raises(InvalidInputError, match="does not cover"):
        terrain.elevations_m(np.array([45.3]), np.array([7.0]))
    heights[2, 2] = np.nan
    with pytest.raises(InvalidInputError, match="has holes in"):
        terrain.profiles_m(frame, np.array([[-10e3, 0, 0]]), np.array([[10e3, 0, 0]]), 21)


def test_a_profile_begins_and_ends_at_its_ends():
    frame = CoordinateFrame(latitude=45.0, longitude=7.0)
    terrain = Terrain("east", 45.5, 6.5, (0.01, 0.01), np.tile(np.arange(101.0), (101, 1)))
    profile = terrain.profiles_m(frame, np.array([[-20e3, 0.0, 0.0]]), np.array([[20e3, 0.0, 0.0]]), 5)[0]
    np.testing.assert_allclose(np.diff(profile), np.diff(profile)[0], rtol=1e-3)
    assert profile[2] == pytest.approx(50.0, abs=1e-6)
