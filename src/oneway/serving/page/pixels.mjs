// Pictures as numbers: cut and scaled as the bundle's client.py does, which a canvas does otherwise.
//
// A picture is { width, height, data }, RGBA in rows, as ImageData is. A placing is { turn: [x, y], shift: [x, y] }: as
// complex numbers, the point p of the square that is cut out, 0 to 1 to the right and down, lies at turn * p + shift in
// the photograph's pixels.

// Fit the placing by which `goal`, points in the square, come nearest to `points` in the photograph (least squares).
export function fitted(goal, points) {
  const mean = (all, axis) => all.reduce((sum, each) => sum + each[axis], 0) / all.length;
  const [a, b, c, d] = [mean(goal, 0), mean(goal, 1), mean(points, 0), mean(points, 1)];
  let [x, y, spread] = [0, 0, 0];
  goal.forEach(([u, v], at) => {
    const [p, q] = [points[at][0] - c, points[at][1] - d];
    x += (u - a) * p + (v - b) * q;
    y += (u - a) * q - (v - b) * p;
    spread += (u - a) ** 2 + (v - b) ** 2;
  });
  const turn = [x / spread, y / spread];
  return { turn, shift: [c - turn[0] * a + turn[1] * b, d - turn[1] * a - turn[0] * b] };
}

// Place the largest square in the middle.
export function middle({ width, height }) {
  const side = Math.min(width, height);
  return { turn: [side, 0], shift: [(width - side) / 2, (height - side) / 2] };
}

// Cut a square of `size` pixels: sampled in the photograph's own resolution, then scaled.
export function cut(photograph, placing, size) {
  const side = Math.max(size, Math.round(Math.hypot(...placing.turn)));
  return scaled(sampled(photograph, placing, side), size, size);
}

// Sample a square of `side` pixels (bilinear); what lies outside repeats the edge.
export function sampled({ width, height, data }, { turn, shift }, side) {
  const found = new Uint8ClampedArray(4 * side * side);
  const [step, skew] = [turn[0] / side, turn[1] / side];
  const clamp = (value, length) => Math.max(0, Math.min(length - 1, value));
  for (let row = 0, to = 0; row < side; row++) {
    for (let column = 0; column < side; column++, to += 4) {
      const x = step * (column + 0.5) - skew * (row + 0.5) + shift[0] - 0.5;
      const y = skew * (column + 0.5) + step * (row + 0.5) + shift[1] - 0.5;
      const [left, top] = [Math.floor(x), Math.floor(y)];
      const [right, down] = [x - left, y - top];
      const [west, east] = [clamp(left, width), clamp(left + 1, width)];
      const [north, south] = [width * clamp(top, height), width * clamp(top + 1, height)];
      for (let colour = 0; colour < 4; colour++) {
        const at = (line, place) => data[4 * (line + place) + colour];
        const above = at(north, west) * (1 - right) + at(north, east) * right;
        const below = at(south, west) * (1 - right) + at(south, east) * right;
        found[to + colour] = above * (1 - down) + below * down;
      }
    }
  }
  return { width: side, height: side, data: found };
}

// Scale to `width` x `height` by a triangle as wide as what is left out, as Pillow's BILINEAR does.
export function scaled(picture, width, height) {
  return along(along(picture, width, true), height, false);
}

// Scale one axis.
function along({ width, height, data }, length, across) {
  const before = across ? width : height;
  if (before === length) return { width, height, data };
  const size = across ? { width: length, height } : { width, height: length };
  const found = new Uint8ClampedArray(4 * size.width * size.height);
  const [stride, lines, between] = across ? [4, height, 4 * width] : [4 * width, width, 4];
  const [toStride, toBetween] = across ? [4, 4 * length] : [4 * width, 4];
  const ratio = before / length;
  const reach = Math.max(1, ratio);
  for (let place = 0; place < length; place++) {
    const centre = (place + 0.5) * ratio;
    const first = Math.max(0, Math.floor(centre - reach + 0.5));
    const last = Math.min(before, Math.floor(centre + reach + 0.5));
    const weights = Array.from({ length: last - first }, (_, at) => Math.max(0, 1 - Math.abs(first + at + 0.5 - centre) / reach));
    const whole = weights.reduce((sum, each) => sum + each, 0);
    for (let line = 0; line < lines; line++) {
      for (let colour = 0; colour < 4; colour++) {
        let sum = 0;
        for (let at = 0; at < weights.length; at++) sum += weights[at] * data[line * between + (first + at) * stride + colour];
        found[place * toStride + line * toBetween + colour] = Math.floor(sum / whole + 0.5);
      }
    }
  }
  return { ...size, data: found };
}
