"""Ways in which a file can be wrong, drawn from a seeded generator."""

from __future__ import annotations

import io
import random
import zipfile

_NUMBERS = (
    b"0", b"-1", b"1e999", b"-1e308", b"nan", b"NaN", b"Infinity", b"1.5", b"18446744073709551616",
    b"1" + b"0" * 30, b"2147483648", b"-0.0", b"0x10", b"1_000", b"true", b"null", b'""', b"[]", b"{}",
)  # fmt: skip
_WORDS = (
    b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n", b"\xf0\x9f\x92\xa5", b"'", b'"', b"\\", b"..", b"/",
    b"]", b"}", b",", b"=", b"[[", b"<script>", b"[red]", b"\x1b[31m", b"#", b"\t",
)  # fmt: skip
_NESTED = (b"[" * 5000 + b"]" * 5000, b'{"a":' * 3000 + b"1" + b"}" * 3000)


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Return the content with one to four changes; a zip archive may be changed inside as well."""
    if content[:2] == b"PK" and draw.random() < 0.6:
        return _in_archive(content, draw)
    text = _is_text(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        content = (_text if text and draw.random() < 0.75 else _bytes)(content, draw)
    return content


def _is_text(content: bytes) -> bool:
    return bool(content) and sum(32 <= byte < 127 or byte in b"\n\r\t" for byte in content) > 0.95 * len(
        content
    )


def _place(content: bytes, draw: random.Random) -> int:
    # headers decide most
    end = len(content) if draw.random() < 0.6 else min(len(content), 200)
    return draw.randrange(end) if end else 0


def _bytes(content: bytes, draw: random.Random) -> bytes:
    where, size = _place(content, draw), draw.choice((1, 1, 2, 4, 8, 64))
    kind = draw.randrange(7)
    if kind == 0:  # cut off
        return content[:where]
    if kind == 1:  # taken out
        return content[:where] + content[where + size :]
    if kind == 2:  # put in
        return content[:where] + draw.randbytes(size) + content[where:]
    if kind == 3:  # written twice
        return content[:where] + content[where : where + 8 * size] * 2 + content[where + 8 * size :]
    if kind == 4:  # the extremes of numbers
        value = draw.choice((b"\x00", b"\xff", b"\x7f", b"\x80")) * size
        return content[:where] + value + content[where + size :]
    if kind == 5:  # one bit
        changed = bytearray(content)
        if changed:
            changed[where] ^= 1 << draw.randrange(8)
        return bytes(changed)
    return content[:where] + draw.randbytes(size) + content[where + size :]


def _text(content: bytes, draw: random.Random) -> bytes:
    kind = draw.randrange(6)
    if kind <= 2:  # another number in place of one
        start = where = _place(content, draw)
        digits = b"0123456789.-+e"
        while start < len(content) and content[start] not in digits:
            start += 1
        if start == len(content):
            start = where
        end = start
        while end < len(content) and content[end] in digits:
            end += 1
        return content[:start] + draw.choice(_NUMBERS) + content[end:]
    where = _place(content, draw)
    if kind == 3:
        return content[:where] + draw.choice(_WORDS) + content[where:]
    lines = content.split(b"\n")
    row = draw.randrange(len(lines))
    if kind == 4:  # lines that are missing, twice, or elsewhere
        other = draw.randrange(len(lines))
        change = draw.randrange(3)
        if change == 0:
            del lines[row]
        elif change == 1:
            lines.insert(other, lines[row])
        else:
            lines[row], lines[other] = lines[other], lines[row]
        return b"\n".join(lines)
    if draw.random() < 0.2:
        return content[:where] + draw.choice(_NESTED) + content[where:]
    lines[row] = lines[row] + lines[row][: draw.randrange(1, 40)] * draw.choice((1, 2000))
    return b"\n".join(lines)


def _in_archive(content: bytes, draw: random.Random) -> bytes:
    """Change a member, its name, or which members there are."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = draw.choice(sorted(members))
    kind = draw.randrange(5)
    if kind == 0:
        del members[name]
    elif kind == 1:
        members[draw.choice(("a.npy", "../x.npy", "labels", name + "2", "x" * 300 + ".npy"))] = members[name]
    elif kind == 2:  # a header that promises more than there is
        members[name] = members[name].replace(
            b"'shape': (", b"'shape': (" + draw.choice((b"99999999,", b"0,", b"-1,"))
        )
    else:
        members[name] = _bytes(members[name], draw)
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as archive:
        for each, value in members.items():
            archive.writestr(each, value)
    return into.getvalue()
