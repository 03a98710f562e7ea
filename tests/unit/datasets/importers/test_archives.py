import io
import tarfile
import zipfile

import pytest

from heimdall.datasets.importers import archives
from heimdall.datasets.importers.archives import unpack
from heimdall.datasets.importers.sources import SourceFile
from heimdall.domain.errors import InvalidInputError


def tar_of(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in members:
            info = content if isinstance(content, tarfile.TarInfo) else tarfile.TarInfo(name)
            if not isinstance(content, tarfile.TarInfo):
                info.size = len(content)
            archive.addfile(info, None if isinstance(content, tarfile.TarInfo) else io.BytesIO(content))
    return SourceFile(path.name, path)


def zip_of(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return SourceFile(path.name, path)


def unpack_into(tmp_path, source):
    folder = tmp_path / "unpacked"
    folder.mkdir()
    return unpack(source, folder, lambda share: None), folder


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "zip"])
def test_members_keep_their_names_as_text_and_lie_under_numbers(tmp_path, mode):
    members = [
        ("./a/x.sigmf-meta", b"m"),
        ("a/x.sigmf-data", b"dd"),
        ("b/città.wav", b"w"),
        ("readme.txt", b"r"),
        ("__MACOSX/._x.wav", b"j"),
    ]
    source = zip_of(tmp_path / "e", members) if mode == "zip" else tar_of(tmp_path / "e", members, mode)
    found, folder = unpack_into(tmp_path, source)
    assert sorted(found.members) == ["a/x.sigmf-data", "a/x.sigmf-meta", "b/città.wav"]
    assert sorted(path.name for path in folder.iterdir()) == ["000000.sigmf-data", "000000.sigmf-meta", "000001.wav"]
    assert found.num_skipped == 2
    meta = found.members["a/x.sigmf-meta"]
    assert found.find_beside(meta, "x.sigmf-data").read_bytes() == b"dd"
    assert found.find_beside(meta, "../b/città.wav") is None


@pytest.mark.parametrize(
    "name", ["../x.wav", "/etc/x.wav", "a/../../x.wav", "C:/x.wav", "a\\..\\x.wav", "a//x.wav", "x\x07.wav", "n" * 500 + ".wav"]
)
@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_names_that_lead_out_are_refused_and_nothing_is_written(tmp_path, name, pack):
    with pytest.raises(InvalidInputError, match=r"does not stay within the archive\. Pack the folder"):
        unpack_into(tmp_path, pack(tmp_path / "e", [(name, b"x")]))
    assert {path.name for path in tmp_path.rglob("*")} == {"e", "unpacked"}


def test_links_and_devices_are_refused(tmp_path):
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
        info = tarfile.TarInfo("x.wav")
        info.type, info.linkname = kind, "/etc/passwd"
        source = tar_of(tmp_path / f"e{kind!r}".replace("'", ""), [("x.wav", info)])
        with pytest.raises(InvalidInputError, match="link or device"):
            unpack(source, tmp_path, lambda share: None)
    link = zipfile.ZipInfo("x.wav")
    link.external_attr = 0o120777 << 16
    with pytest.raises(InvalidInputError, match="holds the link"):
        unpack_into(tmp_path, zip_of(tmp_path / "z", [(link, "/etc/passwd")]))


def test_a_bomb_stops_while_it_unpacks(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "GROWTH_SLACK_BYTES", 1_000)
    source = zip_of(tmp_path / "bomb.zip", [("x.u8", bytes(3_000_000))])
    with pytest.raises(InvalidInputError, match="more than 50 times its size"):
        unpack_into(tmp_path, source)


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 3)
    with pytest.raises(InvalidInputError, match="more than 3 files"):
        unpack_into(tmp_path, tar_of(tmp_path / "e", [(f"{number}.txt", b"") for number in range(4)]))


@pytest.mark.parametrize("twice", [[("x.wav", b"1"), ("x.wav", b"2")], [("x.wav", b"1"), ("x.WAV", b"2")]])
def test_a_name_that_comes_twice_is_refused(tmp_path, twice):
    with pytest.raises(InvalidInputError, match="twice"):
        unpack_into(tmp_path, tar_of(tmp_path / "e", twice))


@pytest.mark.parametrize("cut", [100, 700])
@pytest.mark.parametrize("mode", ["w:gz", "zip"])
def test_an_archive_that_was_cut_off_is_refused_with_what_to_do(tmp_path, mode, cut):
    noise = bytes((7 * number * number + number // 3) % 251 for number in range(5000))
    members = [("x.wav", noise), ("y.wav", noise)]
    source = zip_of(tmp_path / "e", members) if mode == "zip" else tar_of(tmp_path / "e", members, mode)
    source.path.write_bytes(source.path.read_bytes()[:-cut])
    with pytest.raises(InvalidInputError, match="send it again"):
        unpack_into(tmp_path, source)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 and no more"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "e").write_bytes(content)
    with pytest.raises(InvalidInputError, match="tar or zip") as refused:
        unpack_into(tmp_path, SourceFile("e", tmp_path / "e"))
    assert "\n" not in refused.value.detail


def test_an_archive_without_recordings_says_what_belongs_into_it(tmp_path):
    with pytest.raises(InvalidInputError, match=r"holds no recording\. Pack \.sigmf-collection"):
        unpack_into(tmp_path, tar_of(tmp_path / "e", [("readme.txt", b"r")]))


def test_a_tar_that_is_cut_between_or_inside_heads_is_refused(tmp_path):
    whole = tar_of(tmp_path / "whole.tar", [("a.wav", b"w" * 600), ("b.wav", b"v" * 600)]).path.read_bytes()
    first = 512 + 1024  # head and two blocks
    for number, size in enumerate((first, first + 100, first + 512 + 1024)):
        path = tmp_path / f"cut{number}.tar"
        path.write_bytes(whole[:size])
        folder = tmp_path / f"unpacked{number}"
        folder.mkdir()
        with pytest.raises(InvalidInputError, match="cut off"):
            unpack(SourceFile(path.name, path), folder, lambda share: None)


def test_a_text_is_told_that_it_is_no_archive(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not an archive " * 100)
    with pytest.raises(InvalidInputError, match=r"'notes.txt' is no tar or zip\. Pack the recordings as \.tar"):
        unpack_into(tmp_path, SourceFile(path.name, path))


def test_recordings_that_nothing_asked_for_are_counted(tmp_path):
    members = [("a.json", b"{}"), ("x.sigmf-meta", b"m"), ("x.sigmf-data", b"d"), ("y.sigmf-meta", b"m"), ("y.sigmf-data", b"d")]
    found, _ = unpack_into(tmp_path, tar_of(tmp_path / "e.tar", members))
    assert found.count_unasked() == 2
    assert found.find_beside(found.members["a.json"], "x.sigmf-meta")
    assert found.count_unasked() == 1
