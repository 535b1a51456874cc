"""Send numbers instead of a picture: `client.py encode PICTURE OUT.bin`, or `client.py ask PICTURE --url URL`.

It needs numpy, Pillow and onnxruntime, and the files beside it: contract.json and device.onnx.
"""

import argparse
import hashlib
import json
import math
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

HERE = Path(__file__).resolve().parent


def square(photograph: Path, agreed: Any, points: list[float] | None = None) -> Any:
    """Cut what the contract says out of a photograph as it is seen, by its points if given: (size, size, 3), uint8."""
    size, fit, goal = agreed["size"], agreed["fit"], agreed["points"]
    with Image.open(photograph) as opened:
        seen = ImageOps.exif_transpose(opened)
        picture = Image.new("RGB", seen.size, "white")
        picture.paste(seen.convert("RGB"), mask=seen.convert("RGBA").getchannel("A"))
    width, height = picture.size
    if points is not None and goal is not None:
        return np.asarray(aligned(picture, np.reshape(points, (5, 2)), np.array(goal), size))
    if fit is None and width != height:
        raise SystemExit(f"error: {photograph} must be cut first: {agreed['crop']}; or give the --points of the face")
    if fit == "pad":
        picture = ImageOps.contain(picture, (size, size), Image.Resampling.BILINEAR)
        around = [(lack // 2, lack - lack // 2) for lack in (size - picture.height, size - picture.width)]
        return np.pad(np.asarray(picture), [*around, (0, 0)], mode="edge")
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    box = None if fit == "stretch" else (left, top, left + side, top + side)
    return np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR, box=box))


def aligned(picture: Image.Image, points: Any, goal: Any, size: int) -> Image.Image:
    """Turn, scale and cut a picture so that its points come to `goal`, fractions of the new side, by least squares."""
    source, target = goal @ [1, 1j], points @ [1, 1j]
    spread = source - source.mean()
    turn = (spread.conj() * (target - target.mean())).sum() / (np.abs(spread) ** 2).sum()
    shift = target.mean() - turn * source.mean()
    side, corners = max(size, round(abs(turn))), np.array([0, 1, 1j, 1 + 1j]) * turn + shift
    out = [-corners.real.min(), -corners.imag.min(), corners.real.max() - picture.width]
    edge = max(0, math.ceil(1 + max(*out, corners.imag.max() - picture.height)))  # beyond it, its edge is repeated
    wide = Image.fromarray(np.pad(np.asarray(picture), ((edge, edge), (edge, edge), (0, 0)), mode="edge"))
    real, imaginary, move = turn.real / side, turn.imag / side, shift + edge * (1 + 1j)
    matrix = (real, -imaginary, move.real, imaginary, real, move.imag)
    cut = wide.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    return cut.resize((size, size), Image.Resampling.BILINEAR)


def normal(count: int) -> Any:
    """Draw standard normal numbers from the operating system's entropy (Box and Muller 1958); nothing is kept."""
    bits = np.frombuffer(os.urandom(16 * (count // 2 + 1)), np.uint64) >> np.uint64(11)
    first, second = ((bits + np.uint64(1)).astype(np.float64) * 2.0**-53).reshape(2, -1)
    radius, angle = np.sqrt(-2 * np.log(first)), 2 * math.pi * second
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def message(numbers: Any, contract: Any) -> bytes:
    """Add noise to the numbers of one picture, round them to the levels that were agreed, and pack these."""
    if contract["noise"] is not None:
        numbers = numbers + contract["noise"]["deviation"] * normal(len(numbers))
    bits, clip = contract["quantisation"]["bits"], contract["quantisation"]["clip"]
    top = 2 ** (bits - 1) - 1
    levels = np.clip(np.rint(numbers.astype(np.float32) / np.float32(clip / top)), -top, top).astype(np.int8)
    if bits == 8:
        return bytes(levels)
    halves = np.append(levels, np.zeros(len(levels) % 2, np.int8)).view(np.uint8) & 15
    return bytes(halves[::2] | (halves[1::2] << 4))


def encode(photograph: Path, points: list[float] | None = None) -> bytes:
    """Give what leaves the device of a photograph; every call draws its own noise, so send one answer for each."""
    contract = json.loads((HERE / "contract.json").read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(str(HERE / "device.onnx"), providers=["CPUExecutionProvider"])
    picture = square(photograph, contract["picture"], points)
    return message(session.run(["vector"], {"picture": picture[None]})[0][0], contract)


def ask(sent: bytes, url: str, token: Path | None = None) -> str:
    """Give a server's answer to a message, in JSON; what it refuses, it says why."""
    headers = {} if token is None else {"Authorization": f"Bearer {token.read_text(encoding='ascii').strip()}"}
    headers |= {"Content-Type": "application/octet-stream", "Oneway-Request": os.urandom(16).hex()}
    headers["Oneway-Bundle"] = hashlib.sha256((HERE / "contract.json").read_bytes()).hexdigest()
    try:
        request = urllib.request.Request(f"{url.rstrip('/')}/decide", data=sent, headers=headers)
        return str(urllib.request.urlopen(request, timeout=30).read().decode())
    except urllib.error.HTTPError as error:
        raise SystemExit(f"error: {error.code}: {error.read().decode()}") from None


def main() -> None:
    """Encode into a file, or ask a server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("encode", "ask"))
    parser.add_argument("picture", type=Path)
    parser.add_argument("out", type=Path, nargs="?", help="file for the bytes, of encode")
    parser.add_argument("--url", help="of the server, of ask")
    parser.add_argument("--token-file", type=Path, help="holds the server's token, of ask")
    parser.add_argument("--points", type=float, nargs=10, help="x and y of eyes, nose and mouth corners, in pixels")
    given = parser.parse_args()
    if (given.out if given.command == "encode" else given.url) is None:
        parser.error("encode needs OUT, and ask needs --url")
    sent = encode(given.picture, given.points)
    print(ask(sent, given.url, given.token_file) if given.command == "ask" else f"{given.out.write_bytes(sent)} bytes")


if __name__ == "__main__":
    main()
