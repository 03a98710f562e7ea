import json

import numpy as np
import pytest

from heimdall.domain.errors import InvalidInputError
from heimdall.rf.constants import SPEED_OF_LIGHT_M_S
from heimdall.rf.geodesy import geodetic_to_enu, slant_ranges
from tests.unit.datasets.importers.reading import csv_text, read

SENSORS = csv_text(
    ("serial", "latitude", "longitude", "height", "type", "good"),
    [
        (10, 47.4, 8.6, 430, "Radarcape", "TRUE"),
        (14, 47.2, 8.5, 625, "Radarcape", "TRUE"),
        (20, 47.9, 9.1, 300, "x", "FALSE"),
        (21, 0, 0, 0, "x", "F"),
    ],
)
HEADER = ("id", "timeAtServer", "aircraft", "latitude", "longitude", "baroAltitude", "geoAltitude", "numMeasurements", "measurements")


def row(aircraft=7, latitude=47.6, longitude=8.9, baro=9000, geo=9100, measurements=((10, 1_000_000, 50), (20, 1_200_000, 80)), number=1):
    text = measurements if isinstance(measurements, str) else json.dumps(measurements)
    return (number, number / 10, aircraft, latitude, longitude, baro, geo, 2, text)


def write(rows):
    return csv_text(HEADER, rows).replace('""', '"')


def test_messages_become_tokens_of_the_sensors_that_heard(tmp_path):
    three = row(number=2, aircraft=8, measurements=((14, 5_000_300, 1), (20, 5_000_000, 2), (10, 5_000_600, 3)))
    arrays, built = read(tmp_path, "locards", write([row(), three]), SENSORS, split_column="session")
    assert [receiver.id for receiver in arrays.receivers] == ["10", "14", "20"]
    assert arrays.mask.tolist() == [[True, True, False], [True, True, True]]
    assert arrays.receiver_index.tolist() == [[0, 2, 0], [1, 2, 0]]
    toa = arrays.features[..., arrays.feature_index("toa_offset_us")]
    assert toa[0].tolist() == pytest.approx([-100, 100, 0])
    assert toa[1].tolist() == pytest.approx([0.0, -0.3, 0.3], abs=1e-6)
    assert arrays.features[..., arrays.feature_index("rssi_dbm")].tolist() == [[50, 80, 0], [1, 2, 3]]
    assert arrays.features[0, :, arrays.feature_index("tx_up_km")].tolist() == pytest.approx([9.1, 9.1, 0])
    assert arrays.group.tolist() == [0, 1]
    assert any("sensor's position is unknown" in note for note in built.report.notes)
    assert "CC BY-SA" in built.source


def test_the_barometer_stands_in_for_a_missing_altitude_and_that_is_said(tmp_path):
    arrays, built = read(tmp_path, "locards", write([row(geo="")]), SENSORS, split_column="session")
    assert arrays.features[0, 0, arrays.feature_index("tx_up_km")] == pytest.approx(9.0)
    assert any("barometric" in note for note in built.report.notes)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (row(latitude=""), "latitude is empty"),
        (row(latitude=91), "the aircraft's latitude or longitude is out of range"),
        (row(geo="", baro=""), "baroAltitude is empty"),
        (row(geo=1e9), "the aircraft's altitude is out of range"),
        (row(measurements="[[10,1"), "measurements is not JSON"),
        (row(measurements="[" * 20_000), "measurements is not JSON"),
        (row(measurements="9" * 5000), "measurements is not JSON"),
        (row(measurements=[[10, 1, 2]] * 65), "measurements is not a list of 1 to 64"),
        (row(measurements=[[10, 1]]), "a measurement is not [sensor, toa_ns, rssi]"),
        (row(measurements=[[10, None, 5], [14, 1, 2]]), "a measurement is not [sensor, toa_ns, rssi]"),
        (row(measurements="[[10,NaN,5],[14,1,2]]"), "a measurement's sensor, time or strength is out of range"),
        (row(measurements=[[10, -5, 5], [14, 1, 2]]), "a measurement's sensor, time or strength is out of range"),
        (row(measurements=[[10, 1, 5], [10, 1, 2]]), "a sensor is named twice in one row"),
        (row(measurements=[[10, 1, 5], [21, 1, 2]]), "fewer than two measurements come from sensors with a known position"),
        (
            row(measurements=[[10, 1, 5], [14, 10**9, 2]]),
            "the arrival times differ by more than 10 ms, so the sensors were not synchronized",
        ),
        (row(), "the row repeats an earlier row"),
    ],
)
def test_a_bad_message_is_counted_and_named(tmp_path, bad, reason):
    arrays, built = read(tmp_path, "locards", write([row(), bad]), SENSORS, split_column="session")
    assert len(arrays) == 1
    assert built.report.num_rejected == 1
    assert built.report.rejected[0].row == 2
    assert built.report.reasons == {reason: 1}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([write([row()])], "exactly one sensors.csv"),
        ([SENSORS], "at least one set_"),
        ([SENSORS, SENSORS, write([row()])], "exactly one sensors.csv"),
        ([csv_text(("serial", "latitude", "longitude", "height"), [(1, 0, 0, 0)]), write([row()])], "no sensor with a position"),
        ([SENSORS, csv_text(HEADER[:-1], [])], "lacks the column.* measurements"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, files, message):
    with pytest.raises(InvalidInputError, match=message):
        read(tmp_path, "locards", *files)


def test_a_source_that_has_no_dates_cannot_be_split_by_day(tmp_path):
    with pytest.raises(InvalidInputError, match="cannot be split by day; choose one of: session, cell"):
        read(tmp_path, "locards", write([row()]), SENSORS, split_column="day")


@pytest.mark.shared_data
def test_the_recordings_are_read_and_their_times_fit_their_places(tmp_path, data_root):
    folder = data_root / "locards"
    files = [folder / "sensors.csv", *sorted(folder.glob("set_*.csv"))]
    arrays, built = read(tmp_path, "locards", *files, split_column="session")
    assert built.report.num_rows == 1221
    assert built.report.num_rows == built.report.num_accepted + built.report.num_rejected
    assert len(arrays) > 1100
    assert arrays.mask.shape[1] == 5
    transmitter = np.column_stack([arrays.target, arrays.target_up])
    site = geodetic_to_enu(arrays.frame, *np.array([(r.latitude, r.longitude, r.altitude_m) for r in arrays.receivers], float).T)[
        np.asarray(arrays.receiver_index)
    ]
    exact = slant_ranges(transmitter, site) * (1e6 / SPEED_OF_LIGHT_M_S)
    residual = arrays.features[..., arrays.feature_index("toa_offset_us")] - (exact - exact.mean(axis=1, keepdims=True))
    assert np.median(np.abs(residual)) < 0.5
