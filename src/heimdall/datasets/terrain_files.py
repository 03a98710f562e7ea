"""A user's terrain: a folder of SRTM tiles (``.hgt``) or GeoTIFF files, joined into one grid."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from heimdall.domain.errors import InvalidInputError
from heimdall.rf.terrain import Terrain

_TILE_NAME: Final = re.compile(r"^([NS])(\d{2})([EW])(\d{3})\.hgt$", re.IGNORECASE)
_TILE_NODES: Final = {1201**2: 1201, 3601**2: 3601}
_VOID: Final = -32768
_MAX_NODES: Final = 400_000_000

Grid = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Tile:
    """Part of a grid: its north-west node, spacing in degrees, heights with NaN for missing ones."""

    north_deg: float
    west_deg: float
    spacing_deg: tuple[float, float]
    elevation_m: Grid


def read_terrain(folder: Path | None) -> Terrain:
    """Read every tile of a folder.

    Raises
    ------
    InvalidInputError
        Where there is no folder or no tile, a tile is damaged, tiles differ in spacing, or a GeoTIFF is not in geographic coordinates. Flat
        ground is never taken for missing terrain.
    """
    if folder is None or not folder.is_dir():
        raise InvalidInputError(
            "No terrain folder is set. Put SRTM tiles (N45E007.hgt) or GeoTIFF files into a folder and set HEIMDALL_TERRAIN_FOLDER to it, "
            "or choose log-distance.",
            field="propagation",
        )
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in (".hgt", ".tif", ".tiff"))
    if not files:
        raise InvalidInputError("The terrain folder holds no .hgt and no .tif file.", field="propagation")
    digest = hashlib.sha256()
    tiles = []
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
        tiles.append(read_hgt(file) if file.suffix.lower() == ".hgt" else read_geotiff(file))
    grid = _join(tiles)
    return Terrain(
        f"{len(files)} tile(s), sha256 {digest.hexdigest()[:16]}", grid.north_deg, grid.west_deg, grid.spacing_deg, grid.elevation_m
    )


def read_hgt(file: Path) -> Tile:
    """Read an SRTM tile: big-endian int16, 1201 or 3601 nodes a side, rows going south, its south-west corner in its name."""
    name = _TILE_NAME.match(file.name)
    if name is None:
        raise InvalidInputError(f"'{file.name}' is not named after its corner, as N45E007.hgt is.", field="propagation")
    values = np.fromfile(file, ">i2")
    side = _TILE_NODES.get(values.size)
    if side is None:
        raise InvalidInputError(
            f"'{file.name}' holds {values.size} heights; an SRTM tile has 1201 x 1201 or 3601 x 3601.", field="propagation"
        )
    south = int(name[2]) * (1 if name[1].upper() == "N" else -1)
    west = int(name[4]) * (1 if name[3].upper() == "E" else -1)
    heights = values.reshape(side, side).astype(np.float32)
    heights[heights == _VOID] = np.nan
    return Tile(south + 1.0, float(west), (1 / (side - 1), 1 / (side - 1)), heights)


def read_geotiff(file: Path) -> Tile:
    """Read the first band of a GeoTIFF in geographic coordinates (EPSG:4326); needs the ``terrain`` extra."""
    try:
        import rasterio
    except ImportError as error:
        raise InvalidInputError("GeoTIFF needs rasterio: pip install 'heimdall[terrain]'.", field="propagation") from error
    try:
        with rasterio.open(file) as source:
            if source.crs is None or not source.crs.is_geographic or source.transform.b or source.transform.d:
                raise InvalidInputError(
                    f"'{file.name}' is not a north-up grid in degrees; convert it with gdalwarp -t_srs EPSG:4326.", field="propagation"
                )
            heights = source.read(1, masked=True).astype(np.float32).filled(np.nan)
            transform = source.transform
    except rasterio.errors.RasterioError as error:
        raise InvalidInputError(f"'{file.name}' cannot be read as GeoTIFF: {error}", field="propagation") from error
    # The transform speaks of corners of cells; a height belongs to the cell's middle.
    return Tile(transform.f + transform.e / 2, transform.c + transform.a / 2, (-transform.e, transform.a), heights)


def _join(tiles: list[Tile]) -> Tile:
    first = tiles[0]
    if any(not np.allclose(tile.spacing_deg, first.spacing_deg, rtol=1e-6) for tile in tiles):
        raise InvalidInputError("The tiles of the terrain folder have different spacings; keep one kind.", field="propagation")
    height, width = first.spacing_deg
    north, west = max(tile.north_deg for tile in tiles), min(tile.west_deg for tile in tiles)
    corners = [(round((north - tile.north_deg) / height), round((tile.west_deg - west) / width)) for tile in tiles]
    rows = max(row + tile.elevation_m.shape[0] for (row, _), tile in zip(corners, tiles, strict=True))
    columns = max(column + tile.elevation_m.shape[1] for (_, column), tile in zip(corners, tiles, strict=True))
    if rows * columns > _MAX_NODES:
        raise InvalidInputError(
            f"The terrain folder spans {rows} x {columns} heights, too many; keep only the tiles of your region.", field="propagation"
        )
    joined = np.full((rows, columns), np.nan, np.float32)
    for (row, column), tile in zip(corners, tiles, strict=True):
        part = joined[row : row + tile.elevation_m.shape[0], column : column + tile.elevation_m.shape[1]]
        np.copyto(part, tile.elevation_m, where=~np.isnan(tile.elevation_m))
    return Tile(north, west, first.spacing_deg, joined)
