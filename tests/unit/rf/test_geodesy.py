import numpy as np
import pyproj
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heimdall.domain.datasets import CoordinateFrame
from heimdall.rf.geodesy import (
    enu_to_geodetic,
    frame_at_centroid,
    geodesic_distances,
    geodetic_to_enu,
    put_on_ellipsoid,
    slant_ranges,
)

frames = st.builds(CoordinateFrame, latitude=st.floats(-80, 80), longitude=st.floats(-179, 179), altitude_m=st.floats(-100, 4000))
offsets = st.lists(st.tuples(*[st.floats(-200_000, 200_000)] * 2, st.floats(-5_000, 15_000)), min_size=1, max_size=8)


@given(frames, offsets)
def test_enu_to_geodetic_and_back_is_the_same_place(frame, points):
    position = np.array(points)
    back = geodetic_to_enu(frame, *enu_to_geodetic(frame, position))
    np.testing.assert_allclose(back, position, atol=1e-4)


@given(frames, st.floats(0, 360), st.floats(-50, 50))
def test_a_step_on_the_plane_has_the_length_and_the_azimuth_of_the_geodesic_and_up_is_height(frame, azimuth_deg, up_m):
    at_ground = CoordinateFrame(latitude=frame.latitude, longitude=frame.longitude)
    east, north = np.sin(np.radians(azimuth_deg)), np.cos(np.radians(azimuth_deg))
    latitude, longitude, altitude = enu_to_geodetic(at_ground, np.array([[100 * east, 100 * north, 0.0], [0.0, 0.0, up_m]]))
    azimuth, _, distance = pyproj.Geod(ellps="WGS84").inv(frame.longitude, frame.latitude, longitude[0], latitude[0])
    assert distance == pytest.approx(100, abs=1e-6)
    assert np.cos(np.radians(azimuth - azimuth_deg)) == pytest.approx(1, abs=1e-9)
    assert [latitude[1], longitude[1], altitude[1]] == pytest.approx([frame.latitude, frame.longitude, up_m], abs=1e-6)


def test_a_place_that_is_none_is_refused():
    with pytest.raises(ValueError, match="between -90 and 90"):
        geodetic_to_enu(CoordinateFrame(latitude=45, longitude=8), np.array([45.0, 91.0]), np.array([8.0, 8.0]), np.array([0.0, 0.0]))


@given(frames, offsets, offsets)
def test_slant_ranges_are_symmetric_and_obey_the_triangle(frame, points, others):
    a, b = np.array(points), np.array(others)
    forth = slant_ranges(a, b[None])
    np.testing.assert_allclose(forth, slant_ranges(b, a[None]).T)
    via_origin = np.linalg.norm(a, axis=1)[:, None] + np.linalg.norm(b, axis=1)
    assert (forth <= via_origin + 1e-6).all()


@given(frames, frames, offsets)
def test_slant_ranges_do_not_depend_on_the_frame(frame, other, points):
    geodetic = enu_to_geodetic(frame, np.array(points))
    here, there = geodetic_to_enu(frame, *geodetic), geodetic_to_enu(other, *geodetic)
    np.testing.assert_allclose(slant_ranges(here, here[None]), slant_ranges(there, there[None]), atol=1e-3)


@given(frames, st.floats(-200_000, 200_000), st.floats(-200_000, 200_000), st.floats(-400, 9000))
def test_a_point_put_on_the_ellipsoid_has_the_height_asked_for(frame, east, north, altitude):
    position = put_on_ellipsoid(frame, np.array([east]), np.array([north]), altitude)
    _, _, height = enu_to_geodetic(frame, position)
    assert height[0] == pytest.approx(altitude, abs=1e-3)
    assert position[0, :2] == pytest.approx([east, north])


def test_the_flat_plane_is_wrong_by_metres_where_the_slant_range_is_right():
    frame = CoordinateFrame(latitude=45, longitude=8)
    ends = geodetic_to_enu(frame, np.array([45.0, 46.4]), np.array([8.0, 9.6]), np.array([600.0, 100.0]))
    slant = slant_ranges(ends[:1], ends[None, 1:])[0, 0]
    flat = np.linalg.norm(ends[1, :2] - ends[0, :2])
    geodesic = geodesic_distances(np.array([45.0]), np.array([8.0]), np.array([46.4]), np.array([9.6]))[0]
    assert slant - flat > 10
    assert 0 < abs(geodesic - slant) < 30


def test_the_middle_of_sites_on_both_sides_of_the_date_line_lies_between_them():
    frame = frame_at_centroid(np.array([10.0, 10.0]), np.array([179.0, -179.0]))
    assert abs(frame.longitude) == pytest.approx(180)
