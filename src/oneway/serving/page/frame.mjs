// The square of a photograph that is encoded: shown, moved, made larger and turned by a person.
import { sampled } from "./pixels.mjs";

// Make a frame on a canvas. `points` are those that a face should have in it, or null; `changed` is called when a person
// has moved it.
export function frame(canvas, points, changed) {
  const pen = canvas.getContext("2d");
  let [photograph, placing] = [null, null];

  function show() {
    if (photograph === null) return;
    const { data, width } = sampled(photograph, placing, canvas.width);
    pen.putImageData(new ImageData(data, width), 0, 0);
    pen.strokeStyle = "#0a0";
    pen.lineWidth = 2;
    for (const [x, y] of points ?? []) {
      pen.beginPath();
      pen.arc(x * canvas.width, y * canvas.height, 7, 0, 2 * Math.PI);
      pen.stroke();
    }
  }

  // Change the placing about the middle of the square: by a factor, an angle, and a shift in shares of its side.
  function change(factor, angle, [right, down]) {
    const { turn: [x, y], shift } = placing;
    const at = (u, v, [a, b], [c, d]) => [a * u - b * v + c, b * u + a * v + d];
    const middle = at(0.5 + right, 0.5 + down, [x, y], shift);
    const turn = at(factor * Math.cos(angle), factor * Math.sin(angle), [x, y], [0, 0]);
    const half = at(0.5, 0.5, turn, [0, 0]);
    const inside = [Math.min(photograph.width, Math.max(0, middle[0])), Math.min(photograph.height, Math.max(0, middle[1]))];
    placing = { turn, shift: [inside[0] - half[0], inside[1] - half[1]] };
    show();
  }

  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons || photograph === null) return;
    change(1, 0, [-event.movementX / canvas.clientWidth, -event.movementY / canvas.clientHeight]);
  });
  canvas.addEventListener("pointerup", () => photograph !== null && changed());
  canvas.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: [0.02, 0], ArrowRight: [-0.02, 0], ArrowUp: [0, 0.02], ArrowDown: [0, -0.02] }[event.key];
    if (to === undefined || photograph === null) return;
    event.preventDefault();
    change(1, 0, to);
    changed();
  });
  return {
    get photograph() { return photograph; },
    get placing() { return placing; },
    put(picture, where) {
      [photograph, placing] = [picture, where];
      show();
    },
    zoom(factor) {
      change(factor, 0, [0, 0]);
      changed();
    },
    rotate(angle) {
      change(1, angle, [0, 0]);
      changed();
    },
  };
}

// Read the pixels of a picture as it is seen, on white.
export function pixels(picture) {
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const pen = canvas.getContext("2d");
  pen.fillStyle = "white";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(picture, 0, 0);
  return pen.getImageData(0, 0, canvas.width, canvas.height);
}
