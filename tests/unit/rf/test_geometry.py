import numpy as np
import pytest
from scipy.spatial import Delaunay

from heimdall.rf.geometry import horizontal_dilution, is_inside_hull


def around(angles_deg, radius_m=5000.0):
    angles = np.radians(angles_deg)
    return np.stack([radius_m * np.cos(angles), radius_m * np.sin(angles), np.zeros(len(angles))], axis=1)


def all_heard(receiver_m):
    return np.ones(receiver_m.shape[:2], bool)


def test_three_receivers_in_a_regular_triangle_dilute_by_two_over_root_three():
    receiver = around([0, 120, 240])[None]
    assert horizontal_dilution(np.zeros((1, 3)), receiver, all_heard(receiver))[0] == pytest.approx(2 / np.sqrt(3))


def test_dilution_is_the_spread_of_the_linearized_solution():
    generator = np.random.default_rng(3)
    receiver = generator.uniform(-9000, 9000, (1, 5, 3)) * [1, 1, 0.05]
    transmitter = generator.uniform(-4000, 4000, (1, 3)) * [1, 1, 0]
    difference = transmitter - receiver[0]
    # Columns: east, north, and the unknown time of emission as a length.
    design = np.column_stack([difference[:, :2] / np.linalg.norm(difference, axis=1)[:, None], np.ones(5)])
    solved = np.linalg.lstsq(design, generator.normal(size=(5, 200_000)), rcond=None)[0]
    spread = np.sqrt(np.square(solved[:2]).sum(axis=0).mean())
    assert horizontal_dilution(transmitter, receiver, all_heard(receiver))[0] == pytest.approx(spread, rel=0.01)


def test_two_receivers_or_one_direction_determine_nothing():
    receiver = np.stack([around([0, 120, 240]), around([30, 30, 30]) * np.array([1, 2, 3])[:, None]])
    heard = np.array([[True, True, False], [True, True, True]])
    assert np.isinf(horizontal_dilution(np.zeros((2, 3)), receiver, heard)).all()


def test_who_did_not_hear_changes_nothing():
    receiver = around([0, 90, 200, 45])[None]
    heard = np.array([[True, True, True, False]])
    assert horizontal_dilution(np.zeros((1, 3)), receiver, heard) == horizontal_dilution(
        np.zeros((1, 3)), receiver[:, :3], all_heard(receiver[:, :3])
    )


def test_inside_the_hull_is_what_a_triangulation_says():
    generator = np.random.default_rng(5)
    receiver = generator.uniform(-1000, 1000, (300, 6, 2))
    heard = generator.random((300, 6)) < 0.8
    point = generator.uniform(-1200, 1200, (300, 2))
    found = is_inside_hull(point, receiver, heard)
    expected = [
        mask.sum() >= 3 and bool(Delaunay(places[mask]).find_simplex(place) >= 0)
        for place, places, mask in zip(point, receiver, heard, strict=True)
    ]
    assert found.tolist() == expected
    assert 30 < found.sum() < 270


def test_nobody_heard_is_outside():
    assert not is_inside_hull(np.zeros((1, 2)), np.zeros((1, 4, 2)), np.zeros((1, 4), bool))[0]
