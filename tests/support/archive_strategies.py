"""For hypothesis: any zip or tar archive, and any bytes."""

import io
import tarfile
import warnings
import zipfile

from hypothesis import strategies as st

from support.table_strategies import rarely

SIGNS = st.text('ab,;"\n\r\t{}[]:01 é').map(str.encode)
BYTES = st.one_of(
    st.binary(max_size=200), SIGNS, *(SIGNS.map(start.__add__) for start in (b"a,b\n", b"a\tb\n", b'{"a":'))
)
"""What is no table, or hardly one."""
GOOD = st.sampled_from([f"{folder}/{number}.png" for folder in "abc" for number in range(9)])
BAD = st.sampled_from(["../x", "/etc/x", "C:\\x", "a\\b", "caf\udce9/1.png", "a/../../x", ".", "..", "", "a//b"])
NAMES = GOOD | BAD | st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
KINDS = [tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE]


def zipped(members: list[tuple[str, bytes]], compression: int) -> bytes:
    """A zip archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two members of one name
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name.encode(errors="replace").decode()), content, compression)
    return file.getvalue()


def tarred(members: list[tuple[str, bytes]], compression: str, kinds: list[bytes]) -> bytes:
    """A tar archive; each member is of one of `kinds`, in turn."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=f"w:{compression}") as archive:
        for number, (name, content) in enumerate(members):
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kinds[number % len(kinds)], members[0][0], len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


@st.composite
def archives(draw: st.DrawFn) -> bytes:
    """A zip or tar archive of any members; as often as not, some bytes of it are others."""
    if draw(rarely):
        return draw(BYTES)
    good = draw(st.booleans())
    members = draw(st.lists(st.tuples(GOOD if good else NAMES, st.binary(max_size=40)), max_size=5))
    if draw(st.booleans()):
        methods = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
        content = zipped(members, draw(st.sampled_from(methods)))
    else:
        kinds = draw(st.lists(st.sampled_from(KINDS[:1] if good else KINDS), min_size=1, max_size=3))
        content = tarred(members, draw(st.sampled_from(["", "", "gz", "bz2", "xz"])), kinds)
    mutated = bytearray(content)
    for place, byte in draw(st.just([]) | st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=4)):
        mutated[place % len(mutated)] = byte
    return bytes(mutated[: draw(st.just(len(mutated)) | st.integers(0, len(mutated)))])
