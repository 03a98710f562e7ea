from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heimdall.datasets.importers import rssi_table
from heimdall.datasets.importers.rssi_table import REQUIRED_COLUMNS
from heimdall.domain.errors import InvalidInputError
from heimdall.rf.geodesy import enu_to_geodetic
from tests.unit.datasets.importers.reading import csv_text, read

HEADER = (*REQUIRED_COLUMNS, "timestamp", "tx_altitude_m")
GOOD = ("e1", "a", 45.0, 7.5, -80, 45.1, 7.6, "2026-01-02T03:04:05Z", 250)


def variant(**changes):
    row = dict(zip(HEADER, GOOD, strict=True))
    row.update(changes)
    return tuple(row.values())


def test_rows_of_one_example_become_its_tokens(tmp_path):
    rows = [
        variant(receiver_id="b", receiver_latitude=45.2, rssi_dbm=""),
        variant(example_id="e2", receiver_id="b", receiver_latitude=45.2, rssi_dbm=-91.5, tx_longitude=7.9),
        GOOD,
    ]
    arrays, built = read(tmp_path, "rssi-csv", csv_text(HEADER, rows))
    assert [receiver.id for receiver in arrays.receivers] == ["b", "a"]
    assert arrays.mask.tolist() == [[True, True], [True, False]]
    assert arrays.features[..., 0].tolist() == [[0, 1], [1, 0]]
    assert arrays.features[..., 1].tolist() == [[0, -80], [-91.5, 0]]
    position = np.column_stack([arrays.target, arrays.target_up])
    latitude, longitude, altitude = enu_to_geodetic(arrays.frame, position)
    assert latitude == pytest.approx([45.1, 45.1])
    assert longitude == pytest.approx([7.6, 7.9])
    assert altitude == pytest.approx([250, 250], abs=1e-6)
    assert arrays.time[0] == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    assert (built.report.num_rows, built.report.num_accepted) == (3, 3)


def test_a_receiver_whose_coordinates_change_is_a_moving_one(tmp_path):
    rows = [GOOD, variant(example_id="e2", receiver_latitude=45.01)]
    arrays, _ = read(tmp_path, "rssi-csv", csv_text(HEADER, rows))
    assert arrays.receivers[0].is_moving
    assert arrays.receivers[0].latitude is None
    assert abs(arrays.receiver_enu[1, 0, 1] - arrays.receiver_enu[0, 0, 1]) == pytest.approx(1111, abs=5)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (variant(example_id="e2", rssi_dbm="loud"), "rssi_dbm is not a number"),
        (variant(example_id="e2", rssi_dbm="inf"), "rssi_dbm is not a finite number"),
        (variant(example_id="e2", rssi_dbm=500), "rssi_dbm is out of range (-250 to 100 dBm)"),
        (variant(example_id=""), "example_id is empty"),
        (variant(receiver_id="x" * 300), "receiver_id is longer than 200 characters or not printable"),
        (variant(example_id="e2", receiver_latitude=-91), "the receiver's latitude or longitude is out of range"),
        (variant(example_id="e2", tx_longitude=181), "the transmitter's latitude or longitude is out of range"),
        (variant(example_id="e2", tx_latitude=7.6, tx_longitude=45.1), "receiver and transmitter are more than 15 degrees apart"),
        (variant(example_id="e2", tx_altitude_m=1e9), "tx_altitude_m is out of range"),
        (variant(example_id="e2", timestamp="soon"), "timestamp is not a number"),
        (variant(example_id="e2", timestamp="-5"), "timestamp is out of range"),
        (GOOD, "the same receiver stands twice in one example"),
        (variant(receiver_id="b", tx_latitude=45.3), "the transmitter's position differs from the example's first row"),
        (GOOD[:4], "the row has not the 9 fields of the header"),
    ],
)
def test_a_bad_row_is_counted_and_named(tmp_path, bad, reason):
    arrays, built = read(tmp_path, "rssi-csv", csv_text(HEADER, [GOOD, bad, variant(example_id="e3")]))
    assert len(arrays) == 2
    assert built.report.reasons == {reason: 1}
    assert built.report.rejected[0].row == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no CSV header"),
        ("a,b\n1,2\n", "lacks the column"),
        (csv_text(HEADER, []), "no data rows"),
        (csv_text(HEADER, [variant(rssi_dbm="x")]), "None of the 1 rows can be used"),
        ("\0\0\0", "no CSV header"),
        ("x" * 100_000, "no CSV header"),
    ],
)
def test_a_file_with_nothing_usable_is_refused(tmp_path, text, message):
    with pytest.raises(InvalidInputError, match=message):
        read(tmp_path, "rssi-csv", text)


def test_regions_too_far_apart_for_one_frame_are_refused(tmp_path):
    rows = [GOOD, variant(example_id="e2", receiver_id="b", receiver_latitude=-30, tx_latitude=-30)]
    with pytest.raises(InvalidInputError, match="each region as a data set of its own"):
        read(tmp_path, "rssi-csv", csv_text(HEADER, rows))


def test_too_many_receivers_are_rejected_by_row(tmp_path, monkeypatch):
    monkeypatch.setattr(rssi_table, "MAX_RECEIVERS", 2)
    rows = [variant(receiver_id=name) for name in "abc"]
    arrays, built = read(tmp_path, "rssi-csv", csv_text(HEADER, rows))
    assert len(arrays.receivers) == 2
    assert built.report.reasons == {"there are more than 2 receivers": 1}


def test_a_large_network_stores_only_the_receivers_named(tmp_path, monkeypatch):
    monkeypatch.setattr(rssi_table, "MAX_FIXED_ORDER_RECEIVERS", 3)
    rows = [variant(example_id=f"e{n}", receiver_id=f"r{n + k}", rssi_dbm=-50 - n - k) for n in range(6) for k in range(2)]
    arrays, _ = read(tmp_path, "rssi-csv", csv_text(HEADER, rows))
    assert arrays.mask.shape == (6, 2)
    for n in range(6):
        heard = {arrays.receivers[i].id: s for i, s in zip(arrays.receiver_index[n], arrays.features[n, :, 1], strict=True)}
        assert heard == {f"r{n}": -50 - n, f"r{n + 1}": -51 - n}


def test_the_group_column_is_a_session(tmp_path):
    header = (*HEADER, "group")
    rows = [(*variant(example_id=f"e{n}"), label) for n, label in enumerate(["walk 2", "walk 1", "walk 2"])]
    arrays, _ = read(tmp_path, "rssi-csv", csv_text(header, rows), split_column="session")
    assert arrays.group.tolist() == [1, 0, 1]


def test_without_times_only_cells_can_be_held_out(tmp_path):
    text = csv_text(REQUIRED_COLUMNS, [GOOD[:7]])
    arrays, _ = read(tmp_path, "rssi-csv", text)
    assert arrays.manifest.groups == ("cell",)
    with pytest.raises(InvalidInputError, match="cannot be split by session; choose one of: cell"):
        read(tmp_path, "rssi-csv", text, split_column="session")


def to_parquet(tmp_path, columns, **options):
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table(columns), path, **options)
    return path


def make_columns(num=40):
    return {
        "example_id": pa.array([n // 2 for n in range(num)]),
        "receiver_id": [f"r{n % 2}" for n in range(num)],
        "receiver_latitude": [45.0 + (n % 2) / 10 for n in range(num)],
        "receiver_longitude": [7.0] * num,
        "rssi_dbm": [None if n % 5 == 0 else -60.0 - n for n in range(num)],
        "tx_latitude": [45.0 + (n // 2) / 100 for n in range(num)],
        "tx_longitude": [7.1] * num,
        "timestamp": [datetime(2026, 1, 1, n // 2, tzinfo=UTC) for n in range(num)],
    }


def test_parquet_and_csv_of_the_same_table_give_the_same_arrays(tmp_path):
    columns = make_columns()
    parquet, _ = read(tmp_path, "rssi-parquet", to_parquet(tmp_path, columns, row_group_size=7))
    columns["example_id"] = columns["example_id"].to_pylist()
    rows = zip(*columns.values(), strict=True)
    text = csv_text(tuple(columns), [["" if cell is None else cell for cell in row] for row in rows])
    csv, _ = read(tmp_path, "rssi-csv", text)
    assert {name: spec.sha256 for name, spec in parquet.manifest.arrays.items()} == {n: s.sha256 for n, s in csv.manifest.arrays.items()}


def test_bad_parquet_rows_are_counted_and_named(tmp_path):
    columns = make_columns()
    columns["tx_latitude"][3] = float("nan")
    _, built = read(tmp_path, "rssi-parquet", to_parquet(tmp_path, columns))
    assert built.report.reasons == {"tx_latitude is not a finite number": 1}
    assert built.report.rejected[0].row == 4


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    for content in (b"PAR1 and then nothing PAR1", b"", to_parquet(tmp_path, make_columns()).read_bytes()[:-30]):
        with pytest.raises(InvalidInputError, match="cannot be read as Parquet"):
            read(tmp_path, "rssi-parquet", content)


def test_a_parquet_file_with_nested_columns_is_refused(tmp_path):
    columns = make_columns()
    columns["rssi_dbm"] = [[1.0]] * 40
    with pytest.raises(InvalidInputError, match="nested"):
        read(tmp_path, "rssi-parquet", to_parquet(tmp_path, columns))


cells = st.one_of(st.text(max_size=12), st.floats().map(str), st.integers().map(str), st.just(""))


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.lists(cells, min_size=0, max_size=10), max_size=8))
def test_whatever_stands_in_a_file_every_row_is_accounted_for(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("fuzz")
    text = csv_text(HEADER, [GOOD]) + "".join(",".join(row).replace("\n", " ").replace("\r", " ") + "\n" for row in rows)
    arrays, built = read(folder, "rssi-csv", text)
    report = built.report
    assert len(arrays) >= 1
    assert report.num_rows == report.num_accepted + report.num_rejected
    assert sum(report.reasons.values()) == report.num_rejected
