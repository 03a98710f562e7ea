"""The one storage form: a folder with ``manifest.json`` and its ``.npy`` files, which open as memory maps.

Legend: N examples, R receiver tokens an example, F features a token. A token that is not present
(``mask`` false) is all zeros. A fixed receiver that heard nothing is present, with ``heard`` 0.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError

from heimdall.datasets.manifest import ARRAY_DTYPES, OPTIONAL_DTYPES, ArraySpec, IqFormat, Manifest
from heimdall.domain.datasets import CoordinateFrame, DatasetKind, Feature, PhysicalLimit, Receiver, Split
from heimdall.domain.errors import InvalidInputError, NotFoundError, StorageFullError

MANIFEST_NAME: Final = "manifest.json"
_MAX_MANIFEST_BYTES: Final = 32 * 1024 * 1024
_HASH_BLOCK_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True)
class ExampleChunk:
    """Some examples on their way into a data set; the arrays are checked when they are written."""

    features: npt.NDArray[np.float32]
    """[n, R, F] physical units, 0 where absent."""
    mask: npt.NDArray[np.bool_]
    """[n, R] token present."""
    receiver_index: npt.NDArray[np.int16]
    """[n, R] index into the receivers; 0 where absent."""
    target: npt.NDArray[np.float64]
    """[n, 2] east, north, m."""
    target_up: npt.NDArray[np.float64]
    """[n] m."""
    group: npt.NDArray[np.int32]
    """[n] examples with the same number are held out together."""
    time: npt.NDArray[np.float64]
    """[n] unix s, or 0."""
    receiver_enu: npt.NDArray[np.float32]
    """[n, R, 3] m, 0 where absent."""
    bound_sigma_m: npt.NDArray[np.float32] | None = None
    """[n, 2] m, axes of the Cramér-Rao ellipse; simulated data only, and then in every chunk."""
    iq: npt.NDArray[np.int8] | None = None
    """[n, R, T, 2] samples, I first, full scale 128, 0 where absent; in every chunk or in none."""
    carrier_hz: npt.NDArray[np.float64] | None = None
    """[n] Hz, channel of the samples, 0 where nobody said; of recordings, in every chunk or in none."""


@dataclass(frozen=True)
class DatasetArrays:
    """An open data set: read-only memory maps and what they mean."""

    directory: Path
    manifest: Manifest
    content_hash: str
    features: npt.NDArray[np.float32]
    mask: npt.NDArray[np.bool_]
    receiver_index: npt.NDArray[np.int16]
    target: npt.NDArray[np.float64]
    target_up: npt.NDArray[np.float64]
    group: npt.NDArray[np.int32]
    time: npt.NDArray[np.float64]
    receiver_enu: npt.NDArray[np.float32]
    bound_sigma_m: npt.NDArray[np.float32] | None = None
    iq: npt.NDArray[np.int8] | None = None
    carrier_hz: npt.NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return self.manifest.num_examples

    @property
    def frame(self) -> CoordinateFrame:
        """The local frame of every position."""
        return self.manifest.frame

    @property
    def receivers(self) -> tuple[Receiver, ...]:
        """What ``receiver_index`` points to."""
        return self.manifest.receivers

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the last axis of ``features``."""
        return self.manifest.feature_names

    def feature_index(self, name: str) -> int:
        """Return the place of a feature. InvalidInputError where the data set has no such feature."""
        try:
            return self.feature_names.index(name)
        except ValueError:
            raise InvalidInputError(f"This data set has no feature '{name}'; it has {', '.join(self.feature_names)}.") from None

    def has_feature(self, name: str) -> bool:
        """Say whether tokens carry this feature."""
        return name in self.feature_names


def open_dataset(path: Path) -> DatasetArrays:
    """Open a stored data set without reading it.

    Parameters
    ----------
    path
        Folder with ``manifest.json`` and the arrays.

    Returns
    -------
    DatasetArrays
        Read-only memory maps; shapes and types agree with the manifest.

    Raises
    ------
    NotFoundError
        Where there is no such folder or no manifest in it.
    InvalidInputError
        Where a file is missing, truncated or does not match the manifest; the message names the file.
    """
    manifest = read_manifest(path)
    arrays = {name: _open_array(path / f"{name}.npy", spec) for name, spec in manifest.arrays.items()}
    return DatasetArrays(directory=path, manifest=manifest, content_hash=manifest.content_hash(), **arrays)


def read_manifest(path: Path) -> Manifest:
    """Read and check ``manifest.json``; errors as in :func:`open_dataset`."""
    file = path / MANIFEST_NAME
    if not file.is_file():
        raise NotFoundError(f"No data set lies in '{path.name}': it has no {MANIFEST_NAME}.")
    if file.stat().st_size > _MAX_MANIFEST_BYTES:
        raise _corrupt(MANIFEST_NAME, "is too large")
    try:
        manifest = Manifest.model_validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        raise _corrupt(MANIFEST_NAME, f"cannot be read: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    _check_manifest(manifest)
    return manifest


def verify_dataset(path: Path) -> str:
    """Read every byte of a data set and return its content hash.

    Raises
    ------
    InvalidInputError
        Where an array's values do not hash to what the manifest says.
    """
    arrays = open_dataset(path)
    for name, spec in arrays.manifest.arrays.items():
        if _hash_values(getattr(arrays, name)) != spec.sha256:
            raise _corrupt(f"{name}.npy", "was changed after it was written")
    return arrays.content_hash


class DatasetWriter:
    """Streams chunks into a folder, so that memory holds one chunk and not the data set.

    Use as a context; :meth:`finish` writes the manifest last. A folder without a manifest is no data set.

    Parameters
    ----------
    directory
        An existing folder, for this data set alone.
    num_tokens
        R, receiver tokens an example.
    receivers, features
        What the tokens point to and carry.
    has_bounds
        Whether every chunk brings ``bound_sigma_m``.
    iq, num_samples
        What the samples are and T, where every chunk brings ``iq``.
    has_carriers
        Whether every chunk brings ``carrier_hz``.
    """

    def __init__(
        self,
        directory: Path,
        *,
        num_tokens: int,
        receivers: tuple[Receiver, ...],
        features: tuple[Feature, ...],
        has_bounds: bool = False,
        iq: IqFormat | None = None,
        num_samples: int = 0,
        has_carriers: bool = False,
    ) -> None:
        if not 1 <= len(receivers) <= np.iinfo(np.int16).max:
            raise InvalidInputError(f"A data set holds 1 to {np.iinfo(np.int16).max} receivers, not {len(receivers)}.")
        self._directory = directory
        self._receivers = receivers
        self._features = features
        self._num_examples = 0
        self._groups: set[int] = set()
        self._iq = iq
        tails = _tail_shapes(num_tokens, len(features), num_samples)
        is_there = {"bound_sigma_m": has_bounds, "iq": iq is not None, "carrier_hz": has_carriers}
        dtypes = {name: dtype for name, dtype in (ARRAY_DTYPES | OPTIONAL_DTYPES).items() if is_there.get(name, True)}
        self._streams = {name: _ArrayStream(directory / f"{name}.npy", dtype, tails[name]) for name, dtype in dtypes.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for stream in self._streams.values():
            stream.close()

    def append(self, chunk: ExampleChunk) -> None:
        """Add examples.

        Raises
        ------
        InvalidInputError
            Where a shape does not fit, a value is not finite or an index points nowhere: a fault of the caller's data.
        """
        _check_chunk(chunk, num_receivers=len(self._receivers))
        given = _given_arrays(chunk)
        if set(given) != set(self._streams):
            raise InvalidInputError("Either every chunk of a data set brings its bounds, samples and carriers, or none does.")
        for name, values in given.items():
            self._streams[name].append(values)
        self._num_examples += len(chunk.mask)
        self._groups.update(np.unique(chunk.group).tolist())

    def finish(
        self,
        *,
        kind: DatasetKind,
        frame: CoordinateFrame,
        split: Split,
        groups: tuple[str, ...],
        accuracy_radius_m: float,
        physical_limit: PhysicalLimit | None = None,
    ) -> Manifest:
        """Complete the arrays and write the manifest.

        Parameters
        ----------
        split
            Its ``num_groups`` is replaced by what was written.

        Raises
        ------
        InvalidInputError
            Where not one example was added.
        """
        if self._num_examples == 0:
            raise InvalidInputError("Not one usable example was found, so there is no data set to store.")
        manifest = Manifest(
            kind=kind,
            num_examples=self._num_examples,
            frame=frame,
            receivers=self._receivers,
            features=self._features,
            split=split.evolve(num_groups=len(self._groups)),
            groups=groups,
            accuracy_radius_m=accuracy_radius_m,
            physical_limit=physical_limit,
            iq=self._iq,
            arrays={name: stream.finish() for name, stream in self._streams.items()},
        )
        content = json.dumps(manifest.model_dump(mode="json"), indent=1, allow_nan=False).encode()
        with (self._directory / MANIFEST_NAME).open("wb") as file:
            file.write(content)
            _sync(file)
        return manifest


def size_of(path: Path) -> int:
    """Return the bytes of all files of a data set."""
    return sum(file.stat().st_size for file in path.iterdir() if file.is_file())


class _ArrayStream:
    """One ``.npy`` file that grows. NumPy pads its headers so that the first axis may grow in place."""

    def __init__(self, path: Path, dtype: str, tail: tuple[int, ...]) -> None:
        self._dtype = np.dtype(dtype)
        self._tail = tail
        self._rows = 0
        self._digest = hashlib.sha256()
        self._file = path.open("w+b")
        self._write_header()
        self._header_bytes = self._file.tell()

    def append(self, values: npt.NDArray[Any]) -> None:
        if values.shape[1:] != self._tail:
            raise InvalidInputError(f"A chunk of shape {values.shape} does not continue rows of shape {self._tail}.")
        block = np.ascontiguousarray(values, dtype=self._dtype).data.cast("B") if values.size else memoryview(b"")
        self._digest.update(block)
        try:
            self._file.write(block)
        except OSError as error:
            raise _full(error) from error
        self._rows += len(values)

    def finish(self) -> ArraySpec:
        self._write_header()
        if self._file.tell() != self._header_bytes:
            raise AssertionError("a .npy header changed its length while its array grew")
        _sync(self._file)
        self._file.close()
        return ArraySpec(dtype=self._dtype.str, shape=(self._rows, *self._tail), sha256=self._digest.hexdigest())

    def close(self) -> None:
        self._file.close()

    def _write_header(self) -> None:
        self._file.seek(0)
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (self._rows, *self._tail)}
        np.lib.format.write_array_header_1_0(self._file, header)


def _sync(file: BinaryIO) -> None:
    try:
        file.flush()
        os.fsync(file.fileno())
    except OSError as error:
        raise _full(error) from error


def _full(error: OSError) -> StorageFullError:
    return StorageFullError(f"The data set could not be written ({error.strerror}). Free some disk space and start it again.")


def _tail_shapes(num_tokens: int, num_features: int, num_samples: int) -> dict[str, tuple[int, ...]]:
    return {
        "features": (num_tokens, num_features),
        "mask": (num_tokens,),
        "receiver_index": (num_tokens,),
        "target": (2,),
        "target_up": (),
        "group": (),
        "time": (),
        "receiver_enu": (num_tokens, 3),
        "bound_sigma_m": (2,),
        "iq": (num_tokens, num_samples, 2),
        "carrier_hz": (),
    }


def _check_manifest(manifest: Manifest) -> None:
    if set(manifest.arrays) - set(OPTIONAL_DTYPES) != set(ARRAY_DTYPES):
        raise _corrupt(MANIFEST_NAME, f"must name exactly the arrays {', '.join(ARRAY_DTYPES)}")
    dtypes = ARRAY_DTYPES | OPTIONAL_DTYPES
    mask_shape = manifest.arrays["mask"].shape
    if len(mask_shape) != 2:
        raise _corrupt(MANIFEST_NAME, "says that 'mask' has not two axes")
    if ("iq" in manifest.arrays) != (manifest.iq is not None):
        raise _corrupt(MANIFEST_NAME, "must have both samples and their rate, or neither")
    num_samples = manifest.arrays["iq"].shape[2] if "iq" in manifest.arrays and len(manifest.arrays["iq"].shape) == 4 else 0
    tails = _tail_shapes(mask_shape[1], len(manifest.features), num_samples)
    for name, spec in manifest.arrays.items():
        expected = (manifest.num_examples, *tails[name])
        if spec.shape != expected or spec.dtype != dtypes[name]:
            raise _corrupt(MANIFEST_NAME, f"says {spec.dtype} {spec.shape} of '{name}', but {dtypes[name]} {expected} is needed")


def _open_array(path: Path, spec: ArraySpec) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise _corrupt(path.name, "is missing") from error
    except (ValueError, EOFError, OSError) as error:
        raise _corrupt(path.name, "cannot be read; it may be truncated") from error
    if array.dtype.str != spec.dtype or array.shape != spec.shape or not array.flags.c_contiguous:
        raise _corrupt(path.name, f"holds {array.dtype.str} {array.shape}, but the manifest says {spec.dtype} {spec.shape}")
    return array


def _corrupt(file_name: str, what: str) -> InvalidInputError:
    return InvalidInputError(f"The stored data set is damaged: {file_name} {what}. Import or generate it again.", code="dataset_damaged")


def _check_chunk(chunk: ExampleChunk, *, num_receivers: int) -> None:
    given = _given_arrays(chunk)
    if len({len(values) for values in given.values()}) != 1:
        raise InvalidInputError("The arrays of a chunk have different numbers of examples.")
    for name, values in given.items():
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise InvalidInputError(f"A value of '{name}' is not a finite number.")
    absent = ~chunk.mask
    if chunk.features[absent].any() or chunk.receiver_enu[absent].any() or (chunk.iq is not None and chunk.iq[absent].any()):
        raise InvalidInputError("A receiver that is not present must carry zeros only.")
    if chunk.receiver_index.size and not 0 <= chunk.receiver_index.min() <= chunk.receiver_index.max() < num_receivers:
        raise InvalidInputError(f"A receiver index lies outside 0 to {num_receivers - 1}.")
    if not chunk.mask.any(axis=1).all():
        raise InvalidInputError("An example has no receiver at all.")


def _given_arrays(chunk: ExampleChunk) -> dict[str, npt.NDArray[Any]]:
    values = {field.name: getattr(chunk, field.name) for field in fields(chunk)}
    return {name: array for name, array in values.items() if array is not None}


def _iterate_blocks(array: npt.NDArray[Any]) -> Iterator[memoryview]:
    row_bytes = max(1, array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64)))
    step = max(1, _HASH_BLOCK_BYTES // row_bytes)
    for start in range(0, len(array), step):
        yield np.ascontiguousarray(array[start : start + step]).data.cast("B")


def _hash_values(array: npt.NDArray[Any]) -> str:
    digest = hashlib.sha256()
    for block in _iterate_blocks(array):
        digest.update(block)
    return digest.hexdigest()
