import importlib.util
import os

import numpy as np
import pytest

from heimdall.datasets.build import build_synthetic
from heimdall.datasets.terrain_files import read_terrain
from heimdall.domain.datasets import SyntheticDatasetConfig
from heimdall.domain.errors import InvalidInputError

SIDE = 1201


def write_tile(folder, name, height=lambda row, column: 100.0 + 0 * row * column):
    row, column = np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij")
    height(row, column).astype(">i2").tofile(folder / name)


def test_tiles_join_where_they_touch_and_voids_are_holes(tmp_path):
    write_tile(tmp_path, "N45E007.hgt", lambda row, column: row + 0 * column)
    write_tile(tmp_path, "N45E008.hgt", lambda row, column: np.where((row == 600) & (column == 600), -32768, row))
    terrain = read_terrain(tmp_path)
    assert terrain.elevation_m.shape == (SIDE, 2 * SIDE - 1)
    assert terrain.elevations_m(np.array([45.5]), np.array([7.5]))[0] == pytest.approx(600)
    assert terrain.elevations_m(np.array([45.25]), np.array([8.0]))[0] == pytest.approx(900)
    with pytest.raises(InvalidInputError, match="has holes"):
        terrain.elevations_m(np.array([45.5]), np.array([8.5]))
    assert terrain.name.startswith("2 tile(s), sha256 ")


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("N45E007.hgt", 100, "holds 100 heights"),
        ("somewhere.hgt", SIDE**2, "not named after its corner"),
        ("notes.txt", 3, "holds no .hgt"),
    ],
)
def test_a_bad_tile_is_refused_by_name(tmp_path, name, size, message):
    np.zeros(size, ">i2").tofile(tmp_path / name)
    with pytest.raises(InvalidInputError, match=message):
        read_terrain(tmp_path)


def test_tiles_of_different_spacing_are_refused(tmp_path):
    write_tile(tmp_path, "N45E007.hgt")
    np.zeros(3601**2, ">i2").tofile(tmp_path / "N45E008.hgt")
    with pytest.raises(InvalidInputError, match="different spacings"):
        read_terrain(tmp_path)


def test_without_terrain_a_data_set_over_terrain_is_refused_and_never_flat(tmp_path):
    config = SyntheticDatasetConfig(name="s", num_examples=100, propagation="terrain")
    with pytest.raises(InvalidInputError, match="HEIMDALL_TERRAIN_FOLDER"):
        build_synthetic(config, tmp_path, lambda share: None, terrain_folder=None)


def test_a_data_set_over_terrain_names_it(tmp_path):
    for east in (6, 7, 8, 9):
        for north in (44, 45):
            write_tile(tmp_path, f"N{north}E00{east}.hgt")
    (tmp_path / "out").mkdir()
    config = SyntheticDatasetConfig(name="s", num_examples=100, propagation="terrain", margin_km=0.0, min_receivers=1)
    built = build_synthetic(config, tmp_path / "out", lambda share: None, terrain_folder=tmp_path)
    assert "Longley-Rice over terrain: 8 tile(s)" in built.source
    assert built.manifest.physical_limit.error_p68_m > 0


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # rasterio's own, of its affine package
def test_geotiff_is_read_by_the_middle_of_its_cells(tmp_path):
    if importlib.util.find_spec("rasterio") is None:
        if os.environ.get("CI"):
            pytest.fail("needed in CI: rasterio")
        pytest.skip("rasterio is not installed (extra 'terrain')")
    import rasterio
    from rasterio.transform import from_origin

    heights = np.add.outer(100 * np.arange(10), np.arange(20)).astype(np.float32)
    for name, crs in (("ok.tif", "EPSG:4326"),):
        with rasterio.open(
            tmp_path / name,
            "w",
            driver="GTiff",
            height=10,
            width=20,
            count=1,
            dtype="float32",
            crs=crs,
            transform=from_origin(7, 46, 0.1, 0.1),
        ) as file:
            file.write(heights, 1)
    terrain = read_terrain(tmp_path)
    assert terrain.elevations_m(np.array([45.95]), np.array([7.05]))[0] == pytest.approx(0)
    assert terrain.elevations_m(np.array([45.45]), np.array([8.05]))[0] == pytest.approx(510, abs=1e-3)
    (tmp_path / "broken.tif").write_bytes(b"no tiff")
    with pytest.raises(InvalidInputError, match="cannot be read as GeoTIFF"):
        read_terrain(tmp_path)
