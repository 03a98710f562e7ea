import numpy as np
import pytest

from heimdall.datasets.importers.powder import parse_coordinates
from heimdall.datasets.storage import verify_dataset
from heimdall.domain.datasets import CoordinateFrame
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.geodesy import geodetic_to_enu
from tests.unit.datasets.importers.reading import csv_text, read

COORDINATES = '{"bus-1": None, "roof": (40.77, -111.84), "mall": (40.76, -111.85)}'
HEADER = ("timestamp", "bus-1_rss", "bus-1_x", "bus-1_y", "roof", "mall", "tx_x_coord", "tx_y_coord")
GOOD = ("2022-07-05 10:51:43", -70.5, 40.765, -111.841, -101, -60, 40.766, -111.842)


def variant(**changes):
    row = dict(zip(HEADER, GOOD, strict=True))
    row.update({key.replace("bus_1", "bus-1"): value for key, value in changes.items()})
    return tuple(row.values())


def later(minute, **changes):
    return variant(**{"timestamp": f"2022-07-05 10:{minute:02d}:00", **changes})


def test_a_row_becomes_tokens_with_strength_presence_and_place(tmp_path):
    absent = later(1, bus_1_rss=-101, bus_1_x=-1, bus_1_y=-1)
    arrays, built = read(tmp_path, "powder", csv_text(HEADER, [GOOD, absent]), COORDINATES)
    assert [receiver.id for receiver in arrays.receivers] == ["bus-1", "roof", "mall"]
    assert [receiver.is_moving for receiver in arrays.receivers] == [True, False, False]
    assert arrays.mask.tolist() == [[True, True, True], [False, True, True]]
    assert arrays.features[0, :, 0].tolist() == [1, 0, 1]
    assert arrays.features[0, :, 1].tolist() == pytest.approx([-70.5, 0, -60])
    assert not arrays.features[1, 0].any()
    frame = CoordinateFrame(latitude=40.7645, longitude=-111.8405)
    assert arrays.frame == frame
    expected = geodetic_to_enu(frame, np.array([40.766, 40.765]), np.array([-111.842, -111.841]), np.zeros(2))
    np.testing.assert_allclose(arrays.target[0], expected[0, :2])
    np.testing.assert_allclose(arrays.receiver_enu[0, 0], expected[1], rtol=1e-6, atol=1e-4)
    np.testing.assert_allclose(arrays.features[0, 0, 2:], expected[1, :2] / 1e3, rtol=1e-6)
    assert arrays.time[0] == 1657018303.0
    assert built.report.num_accepted == 2
    assert "MIT" in built.source


def test_a_bus_that_heard_without_saying_where_is_left_out_and_counted(tmp_path):
    arrays, built = read(tmp_path, "powder", csv_text(HEADER, [variant(bus_1_x=0.0, bus_1_y=0.0)]), COORDINATES)
    assert not arrays.mask[0, 0]
    assert any("position is missing" in note for note in built.report.notes)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (later(1, roof="abc"), "roof is not a number"),
        (later(1, roof=""), "roof is empty"),
        (later(1, roof="nan"), "roof is not a finite number"),
        (later(1, roof="1_0"), "roof is not a number"),
        (later(1, roof=-300), "roof is out of range (-101 to 100 dB)"),
        (later(1, timestamp="yesterday"), "timestamp is not a date and time"),
        (later(1, tx_x_coord=140.7), "the transmitter's latitude or longitude is out of range"),
        (later(1, tx_x_coord=10.7), "the transmitter is more than 0.5 degrees from the POWDER site"),
        (later(1, bus_1_x=95), "the moving receiver's latitude or longitude is out of range"),
        (GOOD, "the row repeats the time and position of an earlier row"),
        (GOOD[:-1], "the row has not the 8 fields of the header"),
        (('2022-07-05 "10', *GOOD[1:]), None),
    ],
)
def test_a_bad_row_is_counted_and_named(tmp_path, row, reason):
    arrays, built = read(tmp_path, "powder", csv_text(HEADER, [GOOD, row, later(2)]), COORDINATES)
    assert len(arrays) == 2
    report = built.report
    assert (report.num_rows, report.num_accepted, report.num_rejected) == (3, 2, 1)
    assert report.rejected[0].row == 2
    if reason is not None:
        assert report.reasons == {reason: 1}
        assert report.rejected[0].reason == reason


def test_a_line_of_hostile_length_is_skipped_and_named(tmp_path):
    text = csv_text(HEADER, [GOOD]) + "x" * 300_000 + "\n" + csv_text(HEADER, [later(2)]).split("\n", 1)[1]
    arrays, built = read(tmp_path, "powder", text, COORDINATES)
    assert len(arrays) == 2
    assert built.report.reasons == {"the line is longer than 65536 characters": 1}


def test_a_file_without_one_usable_row_is_refused_with_the_commonest_reason(tmp_path):
    with pytest.raises(InvalidInputError, match=r"None of the 2 rows can be used; .*roof is empty"):
        read(tmp_path, "powder", csv_text(HEADER, [variant(roof=""), later(1, roof="")]), COORDINATES)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([COORDINATES], "No CSV file"),
        ([csv_text(HEADER, [GOOD])], "exactly one location_coordinates.json"),
        ([csv_text(HEADER, [GOOD]), COORDINATES, COORDINATES], "exactly one"),
        ([csv_text(HEADER[:-1], [GOOD[:-1]]), COORDINATES], "lacks the column.* tx_y_coord"),
        ([csv_text(("timestamp", *HEADER[2:]), []), COORDINATES], "no position of the fixed receiver 'bus-1_x'"),
        ([csv_text((*HEADER, "roof"), []), COORDINATES], "'roof' more than once"),
        ([csv_text(HEADER, []), COORDINATES], "no data rows"),
        ([csv_text(HEADER, [GOOD]), '{"roof": (40.77, -111.84)}'], "no position of the fixed receiver 'mall'"),
    ],
)
def test_files_that_do_not_fit_are_refused_with_what_to_do(tmp_path, files, message):
    with pytest.raises(InvalidInputError, match=message):
        read(tmp_path, "powder", *files)


NOT_COORDINATES = [
    "{",
    "{'a': 1}",
    "{'a': (95, 0)}",
    "{'a': (1, 2, 3)}",
    "{'a': 'b'}",
    "__import__('os')",
    "(" * 5000,
    "{" + "'a': None," * 200_000 + "}",
]


@pytest.mark.parametrize("text", NOT_COORDINATES, ids=range(len(NOT_COORDINATES)))
def test_coordinates_that_are_no_literal_of_sites_are_refused(text):
    with pytest.raises(InvalidInputError, match="coordinates"):
        parse_coordinates(text)


def test_two_months_are_one_data_set_even_with_different_columns(tmp_path):
    header = ("timestamp", "roof", "tx_x_coord", "tx_y_coord")
    second = csv_text(header, [("2022-11-01 09:00:00", -80, 40.764, -111.84)])
    arrays, _ = read(tmp_path, "powder", csv_text(HEADER, [GOOD]), second, COORDINATES, split_column="day")
    assert arrays.mask.tolist() == [[True, True, True], [False, True, False]]
    assert arrays.group.tolist() == [0, 1]


@pytest.mark.shared_data
def test_the_july_measurements_are_read_whole(tmp_path, data_root):
    folder = data_root / "powder"
    arrays, built = read(tmp_path, "powder", folder / "single_tx_july.csv", folder / "location_coordinates.json")
    assert (len(arrays), built.report.num_rejected) == (3844, 0)
    assert arrays.features.shape == (3844, 40, 4)
    assert sum(receiver.is_moving for receiver in arrays.receivers) == 11
    assert arrays.manifest.split.num_groups == 134
    assert not arrays.manifest.split.is_leaky
    assert arrays.manifest.groups == ("cell", "day", "session")
    assert np.abs(arrays.target).max() < 2000
    assert verify_dataset(arrays.directory) == built.content_hash


@pytest.mark.shared_data
@pytest.mark.parametrize(("column", "num_groups"), [("day", 3), ("session", 6)])
def test_july_can_be_split_by_day_and_by_session(tmp_path, data_root, column, num_groups):
    folder = data_root / "powder"
    arrays, _ = read(tmp_path, "powder", folder / "single_tx_july.csv", folder / "location_coordinates.json", split_column=column)
    assert arrays.manifest.split.num_groups == num_groups
