"""Malformed states: for each class of attack, what is sent, and the code and place of the refusal.

Run as a program it decodes each in one process, and prints what came of it: the faults, seconds, the bytes that the
peak of the process grew by, and what else was done that nothing here may do.
"""

from __future__ import annotations

import io
import json
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    from builders import audio, b64, chunk, entry, frames, ihdr, message, pack, payload, picture, png, rows, tensor
else:
    from .builders import audio, b64, chunk, entry, frames, ihdr, message, pack, payload, picture, png, rows, tensor


class Case(NamedTuple):
    """One malformed state; `blobs` are those that the store has."""

    name: str
    code: str
    where: str
    data: Callable[[], bytes]
    blobs: Mapping[str, bytes] = {}


ID = "0123456789abcdef" * 2
FRAME = "payload.video.frames_b64[0]"
AUDIO = "payload.audio.safetensors_b64"
VIDEO_BLOB = "payload.video.blob_id"
AUDIO_BLOB = "payload.audio.blob_id"


def cases() -> Iterator[Case]:
    """All of them."""
    yield from json_text()
    yield from confusion()
    yield from ranges()
    yield from pictures()
    yield from base64_text()
    yield from png_structure()
    yield from png_bombs()
    yield from other_formats()
    yield from tensors()
    yield from blob_ids()
    yield from blobs()


def raw(text: str | bytes) -> Callable[[], bytes]:
    return lambda: text if isinstance(text, bytes) else text.encode()


def inside(text: str) -> Callable[[], bytes]:
    """JSON text as metadata."""
    return raw('{"kind":"ltx2.v1","payload":{"schema_version":1,"metadata":{"x":' + text + "}}}")


def json_text() -> Iterator[Case]:
    good = message(payload())
    broken = {
        "empty": b"",
        "truncated": good[:-1],
        "trailing": good + b" 1",
        "two values": good + good,
        "utf-16": good.decode().encode("utf-16"),
        "bom": b"\xef\xbb\xbf" + good,
        "bad utf-8": b'{"kind":"ltx2.v1","payload":{"\xff":1}}',
        "bad utf-8 in a long string": b'{"kind":"ltx2.v1","payload":{"metadata":"' + b"\xff" * 70000 + b'"}',
        "control character": b'{"kind":"ltx2.v1\n","payload":{}}',
        "no json": b"hello",
        "single quotes": b"{'kind':'ltx2.v1'}",
        "comment": b"{}//",
        "unterminated string": b'{"kind":"ltx2',
        "unterminated escape": b'{"kind":"ltx2\\',
        "form feed": b"\x0c" + good,
        "quotes only": b'"' * 1001,
        "24 MB string that does not end": b'"' + b"A" * 24_000_000,
    }
    for name, text in broken.items():
        yield Case(f"json {name}", "invalid_json", "", raw(text))
    for text in ("NaN", "-Infinity", "Infinity", "1e400", "-1e999"):
        yield Case(f"json {text}", "invalid_value", "payload.metadata.x", inside(text))
    yield Case("json lone surrogate", "invalid_value", "payload.metadata.x", inside('"\\ud800"'))
    yield Case("json lone surrogate as key", "invalid_value", "payload.metadata.x", inside('{"\\udfff":1}'))
    yield Case("json integer of 21 characters", "too_large", "payload.metadata.x", inside("1" * 21))
    for digits in (65, 4000, 5000, 10**6):
        yield Case(f"json integer of {digits} digits", "too_large", "", inside("1" * digits))
    yield Case("json mantissa of 10**6 digits", "too_large", "", inside("0." + "1" * 10**6))
    for depth in (65, 900, 50_000, 100_000, 1_000_000):
        yield Case(f"json depth {depth}", "too_large", "", raw("[" * depth))
    yield Case("json depth of objects", "too_large", "", raw('{"a":' * 100_000))
    yield Case("json depth inside metadata", "too_large", "", inside("[" * 62 + "]" * 62))
    twice = {
        "kind": '{"kind":"ltx2.v1","kind":"ltx2.v1","payload":{"schema_version":1}}',
        "payload": '{"kind":"ltx2.v1","payload":{"schema_version":1},"payload":{"schema_version":1}}',
        "spelled differently": '{"kind":"ltx2.v1","\\u006bind":"ltx2.v1","payload":{"schema_version":1}}',
    }
    for name, text in twice.items():
        yield Case(f"json {name} twice", "duplicate_key", "", raw(text))
    version = '{"kind":"ltx2.v1","payload":{"schema_version":1,"schema_version":1}}'
    yield Case("json schema_version twice", "duplicate_key", "payload", raw(version))
    blob = '{"kind":"ltx2.v1","payload":{"schema_version":1,"video":{"blob_id":"a","blob_id":"b"}}}'
    yield Case("json blob_id twice", "duplicate_key", "payload.video", raw(blob))
    many = "{" + ",".join(f'"{number}":0' for number in range(400_000)) + "}"
    yield Case("json 400 000 keys", "too_large", "", inside(many))
    yield Case("json 2 000 000 elements", "too_large", "", lambda: inside("[" + "0," * 2_000_000 + "0]")())
    yield Case("json 24 MB string", "too_large", "payload.metadata", lambda: inside('"' + "A" * 24_000_000 + '"')())
    yield Case(
        "json 24 MB of escapes", "too_large", "payload.metadata", lambda: inside('"' + '\\"' * 12_000_000 + '"')()
    )
    yield Case("json 40 MB of escapes", "too_large", "", lambda: inside('"' + '\\"' * 20_000_000 + '"')())
    yield Case("json 20 MB of spaces", "invalid_json", "", lambda: b" " * 20_000_000)
    yield Case("json 80 MB of spaces", "too_large", "", lambda: b" " * 80_000_000)
    yield Case("json 60 MB of spaces", "too_large", "", lambda: b" " * 60_000_000)
    yield Case("json key of 1 MB", "too_large", "", lambda: message({"a" * 1_000_000: 1}))
    yield Case(
        "json metadata of 64 KiB",
        "too_large",
        "payload.metadata",
        lambda: message(payload(metadata={"x": "a" * 65529})),
    )


def confusion() -> Iterator[Case]:
    integers = ("segment_index", "video_conditioning_frame_idx", "audio_conditioning_num_frames", "audio_sample_rate")
    floats = ("video_conditioning_strength", "audio_conditioning_strength", "video_position_offset_sec")
    for field in integers:
        for value in (True, "7", "٣", "1_000", "１", 3.7, 1.0, None, [], {}):
            yield Case(
                f"{field} {value!r}", "invalid_type", f"payload.{field}", raw(message(payload(**{field: value})))
            )
    for field in floats:
        for value in (True, "0.5", "nan", None, [], {}):
            yield Case(
                f"{field} {value!r}", "invalid_type", f"payload.{field}", raw(message(payload(**{field: value})))
            )
    for version in (1.9, 1.0, True, "1", None, 0, -1, 3, 2**64 - 1, [], {}):
        data = raw(message({"schema_version": version}))
        yield Case(f"schema_version {version!r}", "unsupported_version", "payload.schema_version", data)
    yield Case(
        "schema_version 2**64+1",
        "unsupported_version",
        "payload.schema_version",
        raw(message({"schema_version": 2**64 + 1})),
    )
    yield Case("no schema_version", "missing_key", "payload.schema_version", raw(message({})))
    for value in (None, [], "", 0, False, [["schema_version", 1]], "x" * 70_000):
        yield Case(f"payload {str(value)[:20]!r}", "invalid_type", "payload", raw(message(value)))
    kinds = ("LTX2.v1", "ltx2.v1 ", "ltx2.v1\0", "ltх2.v1", "ltx2.ｖ1", "ltx2.\u200bv1", "ltx2.v2", "", "x" * 70_000)
    for kind in (*kinds, None, 1, True, ["ltx2.v1"]):
        yield Case(f"kind {str(kind)[:20]!r}", "unknown_kind", "kind", raw(message(payload(), kind)))
    yield Case("no kind", "missing_key", "kind", raw(b'{"payload":{"schema_version":1}}'))
    yield Case("no payload", "missing_key", "payload", raw(b'{"kind":"ltx2.v1"}'))
    yield Case("no object", "invalid_type", "", raw(b'["ltx2.v1",{}]'))
    yield Case("key beside the payload", "unknown_key", "x", raw(b'{"kind":"ltx2.v1","payload":{},"x":1}'))
    yield Case("unknown key", "unknown_key", "payload.segment", raw(message(payload(segment=1))))
    for value in (None, [], "", 0, [["a", 1]]):
        yield Case(f"metadata {value!r}", "invalid_type", "payload.metadata", raw(message(payload(metadata=value))))
    yield Case(
        "video_latents in version 1", "unknown_key", "payload.video_latents", raw(message(payload(video_latents={})))
    )
    yield Case("no video_latents in version 2", "missing_key", "payload", raw(message({"schema_version": 2})))


def ranges() -> Iterator[Case]:
    outside = {
        "segment_index": (-1, 2**53, 2**63),
        "video_conditioning_frame_idx": (10**18, -(10**18)),
        "video_conditioning_strength": (-0.5, 2, 1.0000001, 1e308),
        "audio_conditioning_strength": (-0.5, 2, 1e308),
        "audio_conditioning_num_frames": (-1, 10**18),
        "video_position_offset_sec": (-5, 1e300),
        "audio_sample_rate": (0, -1, 2**63),
    }
    for field, values in outside.items():
        for value in values:
            yield Case(
                f"{field} {value!r}", "invalid_value", f"payload.{field}", raw(message(payload(**{field: value})))
            )


def pictures() -> Iterator[Case]:
    good = picture()
    for value in (None, [], "x", 1, True):
        yield Case(f"video {value!r}", "invalid_type", "payload.video", raw(message(payload(video=value))))
    yield Case("video {}", "missing_key", "payload.video", raw(message(payload(video={}))))
    for value in ("x", {}, 1, True):
        data = raw(message(payload(video={"frames_b64": value})))
        yield Case(f"frames_b64 {value!r}", "invalid_type", "payload.video.frames_b64", data)
    for value in (None, 1, True, ["x"], {}):
        data = raw(message(payload(video={"frames_b64": [b64(good), value]})))
        yield Case(f"frames of mixed types, {value!r}", "invalid_type", "payload.video.frames_b64[1]", data)
    yield Case("65 frames", "too_large", "payload.video.frames_b64", raw(message(frames(*[good] * 65))))
    yield Case("20 000 frames", "too_large", "", lambda: message(payload(video={"frames_b64": [""] * 20_001})))
    yield Case("two sizes", "ltx2.bad_frames", "payload.video.frames_b64", raw(message(frames(good, picture(4, 5)))))
    both = {"frames_b64": [b64(good)], "blob_id": ID}
    yield Case("frames and a blob", "invalid_value", "payload.video", raw(message(payload(video=both))))
    more = {"frames_b64": [b64(good)], "frame_count": 1}
    yield Case("frames with a count", "unknown_key", "payload.video.frame_count", raw(message(payload(video=more))))
    both = {"safetensors_b64": b64(tensor()), "blob_id": ID}
    yield Case("latents and a blob", "invalid_value", "payload.audio", raw(message(payload(audio=both))))
    latents = {"safetensors_b64": b64(tensor())}
    together = {"schema_version": 2, "video": {"blob_id": ID}, "video_latents": latents}
    yield Case("frames and latents", "invalid_value", "payload.video", raw(message(together)))


def base64_text() -> Iterator[Case]:
    good = next(text for text in (b64(picture(width)) for width in range(4, 99)) if text.endswith("=="))
    wrong = {
        "empty": "",
        "truncated": good[:-5],
        "without padding": good.rstrip("="),
        "foreign alphabet": "!" + good[1:],
        "newline": good[:40] + "\n" + good[41:],
        "newlines more": good + "\n\n\n\n",
        "nul": good[:60] + "\0" + good[61:],
        "padding inside": good[:60] + "==" + good[62:],
        "padding behind": good + "====",
        "data uri": "data:image/png;base64,," + good,
        "url safe": good[:60] + "-_" + good[62:],
        "not ascii": good[:60] + "é" + good[61:],
        "surrogates of a pair": good[:60] + "😀" + good[61:],
        "tail bits": good[:-3] + chr(ord(good[-3]) + 1) + "==",
        "4 MiB of spaces": " " * 2**22,
        "spaces between": " ".join(good[i : i + 2] for i in range(0, len(good), 2)),
    }
    for name, text in wrong.items():
        data = raw(message(payload(video={"frames_b64": [text]})))
        yield Case(f"base64 {name}", "ltx2.bad_base64", FRAME, data)
    for name in ("empty", "foreign alphabet", "padding inside"):
        data = raw(message(payload(audio={"safetensors_b64": wrong[name]})))
        yield Case(f"base64 of latents {name}", "ltx2.bad_base64", AUDIO, data)
    yield Case("base64 of latents 1", "invalid_type", AUDIO, raw(message(payload(audio={"safetensors_b64": 1}))))


def png_structure() -> Iterator[Case]:
    size, end = ihdr(4, 4), chunk(b"IEND")
    good = zlib.compress(rows(4, 4))
    idat = chunk(b"IDAT", good)
    short = zlib.compressobj(wbits=-15)
    wrong_dictionary = zlib.compressobj(zdict=b"0" * 100)
    files = {
        "no IHDR": png(idat, end),
        "second IHDR": png(size, size, idat, end),
        "no IDAT": png(size, end),
        "no IEND": png(size, idat),
        "IEND twice": png(size, idat, end, end),
        "IEND with data": png(size, idat, chunk(b"IEND", b"x")),
        "bad crc of IHDR": png(size[:-1] + b"\0", idat, end),
        "bad crc of IDAT": png(size, chunk(b"IDAT", good, crc=1), end),
        "bad crc of IEND": png(size, idat, chunk(b"IEND", crc=1)),
        "chunk of 4 GiB": png(size, chunk(b"IDAT", good, length=2**32 - 1), end),
        "chunk longer than the file": png(size, chunk(b"IDAT", good, length=len(good) + 100), end),
        "unknown critical chunk": png(size, chunk(b"ABCD"), idat, end),
        "PLTE": png(size, chunk(b"PLTE", bytes(3)), idat, end),
        "lower case": png(size, chunk(b"idat", good), end),
        "no width": png(ihdr(0, 4), idat, end),
        "no height": png(ihdr(4, 0), idat, end),
        "16 bits": png(ihdr(4, 4, 16), idat, end),
        "grey": png(ihdr(4, 4, 8, 0), idat, end),
        "palette": png(ihdr(4, 4, 8, 3), idat, end),
        "with alpha": png(ihdr(4, 4, 8, 6), idat, end),
        "interlaced": png(ihdr(4, 4, 8, 2, 0, 0, 1), idat, end),
        "another compression": png(ihdr(4, 4, 8, 2, 1, 0, 0), idat, end),
        "polyglot behind the end": png(size, idat, end) + b"PK\3\4" + bytes(100),
        "bad filter": picture(idat=zlib.compress(rows(4, 4, 5))),
        "filter 255": picture(idat=zlib.compress(rows(4, 4, 255))),
        "preset dictionary": picture(idat=wrong_dictionary.compress(rows(4, 4)) + wrong_dictionary.flush()),
        "bad adler": picture(idat=good[:-1] + bytes([good[-1] ^ 1])),
        "adler missing": picture(idat=good[:-4]),
        "rows missing": picture(idat=zlib.compress(rows(4, 3))),
        "half a row": picture(idat=zlib.compress(rows(4, 4)[:-5])),
        "a row too many": picture(idat=zlib.compress(rows(4, 5))),
        "a byte too many": picture(idat=zlib.compress(rows(4, 4) + b"\0")),
        "bytes behind the stream": picture(idat=good + b"x"),
        "two streams": picture(idat=good + good),
        "raw deflate": picture(idat=short.compress(rows(4, 4)) + short.flush()),
        "gzip": picture(idat=zlib.compress(rows(4, 4), wbits=31)),
        "empty stream": picture(idat=b""),
        "one byte": picture(idat=b"\x78"),
        "damaged stream": picture(idat=good[:4] + b"\xff\xff\xff" + good[7:]),
        "stream cut short": picture(idat=good[:-6]),
        "signature only": png(),
        "bad signature": b"\x89PNG\n\n\x1a\n" + picture()[8:],
        "cut in the head": picture()[:20],
    }
    for name, file in files.items():
        yield Case(f"png {name}", "ltx2.bad_png", FRAME, raw(message(frames(file))))
    yield Case(
        "png one of two",
        "ltx2.bad_png",
        "payload.video.frames_b64[1]",
        raw(message(frames(picture(), files["rows missing"]))),
    )


def png_bombs() -> Iterator[Case]:
    gib = zlib.compressobj(9)
    inflated = b"".join([*(gib.compress(bytes(2**20)) for _ in range(1024)), gib.flush()])
    end, idat = chunk(b"IEND"), chunk(b"IDAT", zlib.compress(rows(4, 4)))
    too_large = {
        "65535 a side": png(ihdr(65535, 65535), idat, end),
        "2**31-1 a side": png(ihdr(2**31 - 1, 2**31 - 1), idat, end),
        "178 million pixels": png(ihdr(13_377, 13_377), idat, end),
        "1 x 178 million": png(ihdr(1, 178_000_000), idat, end),
        "just too wide": png(ihdr(8193, 1), idat, end),
        "just too many pixels": png(ihdr(3840, 2177), idat, end),
    }
    for name, file in too_large.items():
        yield Case(f"bomb {name}", "too_large", FRAME, raw(message(frames(file))))
    yield Case("bomb 24 times", "too_large", FRAME, raw(message(frames(*[too_large["178 million pixels"]] * 24))))
    large = picture(3840, 2176, idat=zlib.compress(b""))
    yield Case("bomb 64 x 4K", "too_large", "payload.video.frames_b64", raw(message(frames(*[large] * 64))))
    yield Case("bomb 4K of nothing", "ltx2.bad_png", FRAME, raw(message(frames(large))))
    yield Case("bomb IDAT of 1 GiB", "ltx2.bad_png", FRAME, raw(message(frames(picture(idat=inflated)))))
    size = ihdr(4, 4)
    text = b"a\0\0" + inflated
    others = {
        "zTXt of 1 GiB": png(size, chunk(b"zTXt", text), idat, end),
        "iTXt of 1 GiB": png(size, chunk(b"iTXt", b"a\0\1\0\0\0" + inflated), idat, end),
        "iCCP of 1 GiB": png(size, chunk(b"iCCP", text), idat, end),
        "APNG of 2**31 frames": png(size, chunk(b"acTL", struct.pack(">II", 2**31, 0)), idat, end),
        "fdAT of 1 GiB": png(size, idat, chunk(b"fdAT", bytes(4) + inflated), end),
        "eXIf of 100 KiB": png(size, chunk(b"eXIf", bytes(100 * 1024)), idat, end),
        "100 000 tEXt": png(size, *[chunk(b"tEXt", b"a\0b")] * 100_000, idat, end),
    }
    for name, file in others.items():
        yield Case(f"bomb {name}", "ltx2.bad_png", FRAME, raw(message(frames(file))))
    itxt = png(size, *[chunk(b"iTXt", b"a\0\0\0\0\0" + bytes(2**20))] * 30, idat, end)
    yield Case("bomb 30 x 1 MiB iTXt", "ltx2.bad_png", FRAME, lambda: message(frames(itxt)))
    empty = png(size, *[chunk(b"IDAT")] * 200_000, idat, end)
    yield Case("bomb 200 000 empty IDAT", "too_large", FRAME, lambda: message(frames(empty)))


def other_formats() -> Iterator[Case]:
    from PIL import Image

    image = Image.new("RGB", (4, 4))
    files = {}
    for format in ("PPM", "BMP", "GIF", "TIFF", "JPEG", "WEBP"):
        file = io.BytesIO()
        image.save(file, format)
        files[format] = file.getvalue()
    files |= {
        "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\nshowpage\n",
        "FITS": b"SIMPLE  =                    T".ljust(2880),
        "gzip": zlib.compress(picture(), wbits=31),
        "SVG": b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><svg>&e;</svg>',
        "pickle": b"\x80\x04cos\nsystem\n(S'true'\ntR.",
        "zip": b"PK\3\4" + bytes(26),
    }
    for name, file in files.items():
        yield Case(f"format {name}", "ltx2.bad_png", FRAME, raw(message(frames(file))))
        yield Case(f"format {name} as latents", "ltx2.bad_tensor", AUDIO, raw(message(audio(file))))


def tensors() -> Iterator[Case]:
    good = json.dumps({"t": entry()}).encode()
    files = {
        "seven bytes": bytes(7),
        "header beyond the file": tensor(good, b"", length=len(good) + 1),
        "header of 2**64-1": tensor(good, length=2**64 - 1),
        "header of 100 MB": tensor(good, length=100_000_000),
        "header over the limit": tensor(good + b" " * 4096),
        "no tensor": tensor({}),
        "a list": tensor([]),
        "another name": tensor({"T": entry()}),
        "two tensors": tensor({"t": entry(), "u": entry(offsets=[16, 32])}, bytes(32)),
        "with metadata": tensor({"__metadata__": {"format": "pt"}, "t": entry()}),
        "entry null": tensor({"t": None}),
        "no offsets": tensor({"t": {"dtype": "F32", "shape": [1, 1, 2, 2]}}),
        "more in the entry": tensor({"t": {**entry(), "x": 1}}),
        "a hole": tensor({"t": entry(offsets=[4, 20])}, bytes(20)),
        "reversed offsets": tensor({"t": entry(offsets=[16, 0])}),
        "negative offsets": tensor({"t": entry(offsets=[-16, 0])}),
        "float offsets": tensor({"t": entry(offsets=[0.0, 16.0])}),
        "bool offset": tensor({"t": entry(offsets=[False, 16])}),
        "huge offsets": tensor({"t": entry(offsets=[0, 2**62])}),
        "three offsets": tensor({"t": entry(offsets=[0, 16, 32])}),
        "offsets of text": tensor({"t": entry(offsets="0,16")}),
        "shape too big": tensor({"t": entry(shape=[1, 1, 2, 3])}),
        "shape too small": tensor({"t": entry(shape=[1, 1, 2, 1])}),
        "shape that overflows": tensor({"t": entry(shape=[2**31 - 1] * 4)}),
        "shape beyond": tensor({"t": entry(shape=[2**31, 1, 1, 0], offsets=[0, 0])}, b""),
        "zero times 2**62": tensor({"t": entry(shape=[0, 2**62, 1, 1], offsets=[0, 0])}, b""),
        "negative shape": tensor({"t": entry(shape=[-1, -1, 2, 2])}),
        "float shape": tensor({"t": entry(shape=[1.0, 1, 2, 2])}),
        "bool shape": tensor({"t": entry(shape=[True, 1, 2, 2])}),
        "shape of text": tensor({"t": entry(shape="1122")}),
        "rank 0": tensor({"t": entry(shape=[], offsets=[0, 4])}, bytes(4)),
        "rank 1": tensor({"t": entry(shape=[4])}),
        "rank 5": tensor({"t": entry(shape=[1, 1, 1, 2, 2])}),
        "bytes missing": tensor(data=bytes(15)),
        "bytes more": tensor(data=bytes(17)),
        "torch zip": b"PK\3\4" + bytes(200),
        "pickle": b"\x80\x02}q\0." + bytes(100),
        "npy of objects": b"\x93NUMPY\1\0v\0{'descr': '|O'}" + bytes(100),
    }
    for dtype in ("BOOL", "U16", "U32", "U64", "F8_E4M3", "F8_E5M2", "C64", "F33", "f32", "", 1, None, ["F32"]):
        files[f"dtype {dtype!r}"] = tensor({"t": entry(dtype)})
    for name, file in files.items():
        yield Case(f"tensor {name}", "ltx2.bad_tensor", AUDIO, raw(message(audio(file))))
    headers = {
        "of 0 bytes": (b"", "invalid_json"),
        "cut short": (good[:-1], "invalid_json"),
        "not JSON": (b"{t:1}", "invalid_json"),
        "bad UTF-8": (b'{"\xff":1}', "invalid_json"),
        "t twice": (b'{"t":1,"t":1}', "duplicate_key"),
        "deep": (b"[" * 4000, "too_large"),
        "100 dims": (json.dumps({"t": entry(shape=[1] * 100)}).encode(), "too_large"),
        "1 000 empty tensors": (b"{" + b'"a":{},' * 500 + b"}", "too_large"),
    }
    for name, (header, code) in headers.items():
        yield Case(f"tensor header {name}", code, AUDIO, raw(message(audio(tensor(header)))))
    sixty_five = tensor({"t": entry(shape=[1, 1, 2**12, 2**12 + 1], offsets=[0, 4 * 2**12 * (2**12 + 1)])}, b"")
    yield Case("tensor of 64 MiB and more", "too_large", AUDIO, raw(message(audio(sixty_five))))
    numbers = {"F64": "<d", "F32": "<f", "F16": "<e", "BF16": None}
    for dtype, form in numbers.items():
        for value in (float("nan"), float("inf"), float("-inf")):
            one = struct.pack("<f", value)[2:] if form is None else struct.pack(form, value)
            for name, data in {
                "first": one + bytes(3 * len(one)),
                "last": bytes(3 * len(one)) + one,
                "all": one * 4,
            }.items():
                file = tensor({"t": entry(dtype, offsets=[0, len(data)])}, data)
                yield Case(f"tensor {dtype} {value} {name}", "ltx2.bad_tensor", AUDIO, raw(message(audio(file))))


def blob_ids() -> Iterator[Case]:
    wrong = [
        *(
            "../" * 8 + "etc/passwd",
            "/etc/passwd",
            "..%2f..%2fetc%2fpasswd",
            "%252e%252e/x",
            "..\\..\\x",
            "\\\\host\\share",
        ),
        *("file:///etc/passwd", "http://169.254.169.254/", "http://[::1]:6379/", "gopher://x", "s3://bucket/key"),
        *(
            "filecache::file:///etc/passwd",
            ID + "\0",
            ID + "\n",
            f"{ID}\r\nFLUSHALL",
            "*",
            ".",
            "..",
            "",
            f"\u202e{ID}",
        ),
        *("．．／x", "ﬁ" * 16, "${jndi:ldap://x}", "' OR 1=1 --", "/dev/zero", "/proc/self/environ", "CON", ID.upper()),
        *(ID[:-1], f"{ID}0", f" {ID[1:]}", "０" * 32, "g" * 32),
    ]
    for value in wrong:
        for part, where in (("video", VIDEO_BLOB), ("audio", AUDIO_BLOB)):
            data = raw(message(payload(**{part: {"blob_id": value}})))
            yield Case(f"{part} blob id {value!r}", "invalid_value", where, data)
    for value in (7, [ID], {}, True, 1.5):
        yield Case(f"blob id {value!r}", "invalid_type", VIDEO_BLOB, raw(message(payload(video={"blob_id": value}))))
    yield Case("blob id null", "invalid_type", VIDEO_BLOB, raw(message(payload(video={"blob_id": None}))))
    yield Case("blob id of 1 MiB", "invalid_type", VIDEO_BLOB, raw(message(payload(video={"blob_id": "a" * 2**20}))))
    yield Case(
        "blob id surrogate",
        "invalid_value",
        VIDEO_BLOB,
        raw('{"kind":"ltx2.v1","payload":{"schema_version":1,"video":{"blob_id":"\\ud800"}}}'),
    )
    for value in ("1", True, 1.0):
        data = raw(message(payload(video={"blob_id": ID, "frame_count": value})))
        yield Case(f"frame_count {value!r}", "invalid_type", "payload.video.frame_count", data)


def blobs() -> Iterator[Case]:
    video, sound = raw(message(payload(video={"blob_id": ID}))), raw(message(payload(audio={"blob_id": ID})))
    good = picture()
    yield Case("blob unknown", "unknown_blob", VIDEO_BLOB, video, {"f" * 32: pack(good)})
    yield Case("blob unknown, of latents", "unknown_blob", AUDIO_BLOB, sound, {"f" * 32: tensor()})
    packs = {
        "empty": b"",
        "three bytes": bytes(3),
        "no frames": pack(),
        "lying count": pack(good, count=2),
        "lying length": struct.pack(">II", 1, len(good) + 1) + good,
        "length of 4 GiB": struct.pack(">II", 1, 2**32 - 1) + good,
        "a byte behind": pack(good) + b"\0",
        "count too small": pack(good, good, count=1),
        "two sizes": pack(good, picture(5, 4)),
    }
    for name, blob in packs.items():
        yield Case(f"pack {name}", "ltx2.bad_frames", VIDEO_BLOB, video, {ID: blob})
    yield Case("pack of 2**32-1", "too_large", VIDEO_BLOB, video, {ID: pack(good, count=2**32 - 1)})
    yield Case("pack of latents", "too_large", VIDEO_BLOB, video, {ID: tensor()})
    yield Case("latents of a pack", "ltx2.bad_tensor", AUDIO_BLOB, sound, {ID: pack(good)})
    yield Case("pack of 10**6 empty frames", "too_large", VIDEO_BLOB, video, {ID: pack(*[b""] * 10**6)})
    yield Case("pack of an empty frame", "ltx2.bad_png", f"{VIDEO_BLOB}[0]", video, {ID: pack(b"")})
    bomb = png(ihdr(65535, 65535), chunk(b"IDAT", zlib.compress(b"")), chunk(b"IEND"))
    yield Case("pack with a bomb", "too_large", f"{VIDEO_BLOB}[1]", video, {ID: pack(good, bomb)})
    counted = raw(message(payload(video={"blob_id": ID, "frame_count": 3})))
    yield Case("frame_count that lies", "ltx2.bad_frames", VIDEO_BLOB, counted, {ID: pack(good)})
    both = raw(message(payload(video={"blob_id": ID}, audio={"blob_id": ID})))
    yield Case("one blob for both", "ltx2.bad_tensor", AUDIO_BLOB, both, {ID: pack(good)})


class Store:
    """Has what it is given, and is asked for nothing else than ids."""

    def __init__(self, blobs: Mapping[str, bytes]) -> None:
        self.blobs = blobs

    def get(self, blob_id: str) -> bytes:
        assert len(blob_id) == 32
        return self.blobs[blob_id]


def main() -> None:
    """Decode each case; one JSON line for each. Words hide libraries: `isal pybase64`."""
    sys.modules.update(dict.fromkeys(sys.argv[1:]))  # type: ignore[arg-type]
    from stagegraph.errors import ContinuationError
    from stagegraph_ltx2.continuation import decode

    decode(message({**frames(picture()), **audio(tensor())}))  # imports, threads
    effects: list[str] = []
    sys.addaudithook(lambda event, arguments: effects.append(event) if _forbidden(event, arguments) else None)
    for case in cases():
        data = case.data()
        Path("/proc/self/clear_refs").write_text("5")
        del effects[:]
        before, start = _status("VmRSS"), time.process_time()
        faults: Any = "accepted"
        try:
            decode(data, blob_store=Store(case.blobs))  # type: ignore[arg-type]
        except ContinuationError as error:
            faults = [[fault.code, fault.where, str(fault)] for fault in error.faults]
        except BaseException as error:
            faults = f"{type(error).__name__}: {error}"
        spent, done = time.process_time() - start, list(effects)
        row = {
            "name": case.name,
            "faults": faults,
            "seconds": spent,
            "grown": _status("VmHWM") - before,
            "effects": done,
        }
        sys.stdout.write(json.dumps(row) + "\n")


def _forbidden(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        return isinstance(arguments[1], str) and bool(set(arguments[1]) & set("wax+"))
    return event.startswith(("subprocess.", "socket.", "os.exec", "os.system", "os.posix_spawn", "pickle.", "shutil."))


def _status(key: str) -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
