"""Make a generator of small faces, for an audit's generative attacker, of MobileStyleGAN's two ONNX files.

    python benchmarks/generator.py mapping.onnx synthesis.onnx faces.onnx

The whole network (Belousov, arXiv:2104.04767) draws 1024 pixels a side, far more than an attacker wants. So its layers
are kept up to where they have 32, and a small head learns to draw of these what the whole one does, at 64, framed as
the square crop of CelebA is. Its latents are those before the mapping's last activation, in which faces lie as a normal
distribution does (Wulff and Torralba, arXiv:2009.06529): ten layers of standard normal numbers, alike where it is
sampled. Prints how far the head is from the whole network on faces that it did not learn from.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from onnx.helper import get_attribute_value as get
from torch import Tensor, nn

from oneway.data.readers.celeba import LANDMARKS
from oneway.judges.align import align
from oneway.models.exporting import write_onnx
from oneway.models.generator import open_generator
from oneway.onnx_session import session_options
from oneway.progress import track
from oneway.storage.atomic import whole

KEPT = "/PRelu_6_output_0"
"""The last activations of 32 x 32, by their name in the synthesis."""
FIRST, LAYERS = 13, 10
"""Of the 23 layers of w, the synthesis reads the last ten up to there."""
SLOPE = 0.2
"""Of the mapping's last activation below 0."""
FACE = np.array([(384, 468), (650, 471), (518, 635), (402, 740), (629, 736)]) / 1024
"""Eyes, nose and corners of the mouth in the pictures that the synthesis draws."""
SIZE, HELD_OUT = 64, 20


def main() -> None:
    """Make it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mapping", type=Path, help="from z (n, 512) to w (n, 512)")
    parser.add_argument("synthesis", type=Path, help="from w (1, 23, 512) to a picture in about -1..1")
    parser.add_argument("out", type=Path, help="the generator")
    parser.add_argument("--faces", type=int, default=320, help="that the whole network draws, a second of a core each")
    parser.add_argument("--steps", type=int, default=2500, help="for which the head is trained")
    given = parser.parse_args()
    for path in (given.mapping, given.synthesis):
        if not path.is_file():
            parser.error(f"{str(path)!r} is not a file; give MobileStyleGAN's two ONNX files")
    if given.faces <= HELD_OUT:
        parser.error(f"--faces must be more than {HELD_OUT}, by which the head is judged, not {given.faces}")
    torch.manual_seed(0)
    begun = time.perf_counter()
    mapping, synthesis = (
        onnxruntime.InferenceSession(str(path), session_options()) for path in (given.mapping, given.synthesis)
    )
    mapped = mapping.run(None, {"z": torch.randn(20_000, 512).numpy()})[0]
    before = torch.from_numpy(np.where(mapped < 0, mapped / SLOPE, mapped))
    small = Small(Kept(given.synthesis), before)
    latents = torch.randn(given.faces, 1, 512)
    faces = []
    with track("draw faces", given.faces, "faces") as advance:
        for w in small.to_w(latents).numpy():
            drawn = torch.from_numpy(synthesis.run(None, {"wplus": w[:1].repeat(23, 0)[None]})[0])
            faces.append(align(F.interpolate((drawn + 1) / 2, size=SIZE, mode="area"), FACE, LANDMARKS, SIZE))
            advance(1)
    error = small.learn(latents, torch.cat(faces), given.steps)
    with whole(given.out) as partial:
        write_onnx(small, torch.zeros(2, LAYERS, 512), partial, "latents", ["pictures"], {})
        open_generator(partial, SIZE)
    print(json.dumps({"squared error of pixels": round(error, 5), "seconds": round(time.perf_counter() - begun)}))


class Kept(nn.Module):
    """The synthesis up to `KEPT`, from w (n, 23, 512), for any batch, with no more operations than it has."""

    def __init__(self, synthesis: Path) -> None:
        super().__init__()
        graph = onnx.load(synthesis).graph
        known = {each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in graph.initializer}
        wanted, kept = {KEPT}, []
        for node in reversed(graph.node):
            if node.op_type == "Cast" and node.input[0] in known:
                known[node.output[0]] = known[node.input[0]].float()
            elif wanted & set(node.output):
                kept.append(node)
                wanted |= set(node.input)
        self.nodes = [
            (node.op_type, list(node.input), list(node.output), {each.name: get(each) for each in node.attribute})
            for node in reversed(kept)
        ]
        self.places = {name: f"weight{place}" for place, name in enumerate(sorted(wanted & set(known)))}
        for name, place in self.places.items():
            if known[name].is_floating_point():
                self.register_buffer(place, known[name])
            else:
                setattr(self, place, known[name].flatten().tolist())  # a shape, or a place

    def forward(self, w: Tensor) -> Tensor:
        """Give what is kept, (n, 512, 32, 32)."""
        values = {"wplus": w}
        for kind, taken, given, attributes in self.nodes:
            inputs = [values[name] if name in values else getattr(self, self.places[name]) for name in taken]
            found = _compute(kind, inputs, attributes)
            values.update(zip(given, found if isinstance(found, tuple) else (found,), strict=True))
        return values[KEPT]


def _compute(kind: str, inputs: list[Any], attributes: dict[str, Any]) -> Any:
    """Do one operation of ONNX, of those that the synthesis has, as it uses them."""
    x, others = inputs[0], inputs[1:]
    if kind == "Gather":
        return x[:, others[0][0]]
    if kind == "Gemm":
        return x @ others[0] + others[1]
    if kind == "Reshape":
        return x.reshape(x.shape[0], *others[0][1:])
    if kind == "Mul":
        return x * others[0]
    if kind == "Add":
        return x + others[0]
    if kind == "PRelu":
        return F.prelu(x, others[0].flatten())
    if kind == "Conv":
        return F.conv2d(
            x, others[0], others[1] if others[1:] else None, padding=attributes["pads"][0], groups=attributes["group"]
        )
    if kind == "ConvTranspose":  # half of a Haar wavelet's inverse: each row, or each column, becomes two
        along = 2 if attributes["strides"][0] == 2 else 3
        first, second = others[0][0].flatten()
        return torch.stack([x * first, x * second], dim=along + 1).flatten(along, along + 1)
    if kind == "Split":
        return torch.split(x, others[0], dim=attributes["axis"])
    if kind == "Squeeze":
        return x.squeeze(others[0][0])
    if kind == "Slice":  # of all there is
        return x
    raise SystemExit(f"the synthesis has an operation that MobileStyleGAN's has not: {kind}")


class Small(nn.Module):
    """The generator: latents (n, layers, 512) to pictures (n, 3, 64, 64) in 0..1.

    Args:
        kept: the synthesis up to 32 x 32.
        before: w of many faces before the mapping's last activation, (faces, 512).

    """

    def __init__(self, kept: nn.Module, before: Tensor) -> None:
        super().__init__()
        self.kept = kept
        mean = before.mean(dim=0)
        lengths, axes = torch.linalg.svd(before - mean, full_matrices=False)[1:]
        self.register_buffer("mean", mean)
        self.register_buffer("axes", lengths[:, None] / len(before) ** 0.5 * axes)
        self.modulate = nn.Linear(512, 512)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)
        sizes = zip((512, 96, 96, 96), (96, 96, 96, 12), (1, 3, 3, 3), strict=True)
        self.head = nn.ModuleList(nn.Conv2d(taken, given, side, padding=side // 2) for taken, given, side in sizes)

    mean: Tensor
    axes: Tensor

    def to_w(self, latents: Tensor) -> Tensor:
        """Map latents (n, layers, 512) to w, (n, layers, 512)."""
        return F.leaky_relu(latents @ self.axes + self.mean, SLOPE)

    def forward(self, latents: Tensor) -> Tensor:
        """Draw."""
        w = self.to_w(latents)
        return self.draw(self.kept(torch.cat([w[:, :1].expand(-1, FIRST, -1), w], dim=1)), w[:, 0])

    def draw(self, kept: Tensor, w: Tensor) -> Tensor:
        """Draw of what is kept of the synthesis, (n, 512, 32, 32), and of w (n, 512)."""
        first, *middle, last = self.head
        x = F.gelu(first(0.3 * kept * (1 + self.modulate(w))[:, :, None, None]))
        for layer in middle:
            x = x + F.gelu(layer(x))
        return (F.pixel_shuffle(last(x), 2) + 0.5).clamp(0, 1)

    def learn(self, latents: Tensor, faces: Tensor, steps: int) -> float:
        """Train the head to draw faces (n, 3, 64, 64) of latents (n, 1, 512); give its error on the last of them."""
        with torch.no_grad():
            w = self.to_w(latents)
            kept = torch.cat([self.kept(each.expand(-1, 23, -1)) for each in torch.split(w, 20)])
        optimizer = torch.optim.AdamW([*self.head.parameters(), *self.modulate.parameters()], weight_decay=1e-4)
        rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
        with track("train the head", steps, "steps") as advance:
            for _ in range(steps):
                rows = torch.randint(len(faces) - HELD_OUT, (8,))
                loss = F.l1_loss(self.draw(kept[rows], w[rows, 0]), faces[rows])
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                rate.step()
                advance(1)
        with torch.no_grad():
            drawn = self.draw(kept[-HELD_OUT:], w[-HELD_OUT:, 0])
        return float(F.mse_loss(drawn, faces[-HELD_OUT:]))


if __name__ == "__main__":
    main()
