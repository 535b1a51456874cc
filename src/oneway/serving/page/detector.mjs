// Finds faces in the browser by an ONNX file of YuNet, whose outputs are read as OpenCV reads them.
import { scaled } from "./pixels.mjs";

const STRIDES = [8, 16, 32]; // pixels between the places at which faces are looked for
const LEAST = 0.6; // score from which a face counts
const LONGEST = 640; // pixels of the longer side in which faces are looked for
const [AGAIN, AROUND] = [320, 2.5]; // pixels and sizes of the face in which it is looked at again
const OVERLAP = 0.3; // share of their union that two boxes may have in common and be two faces

// Open a detector: a function from a picture to its faces, the largest first. A face is a score, a box (left, top,
// width, height) and five points (eyes, nose, corners of the mouth), in the picture's pixels.
export async function open(ort, address) {
  const session = await ort.InferenceSession.create(address);
  return async (picture) => {
    const scale = Math.min(1, LONGEST / Math.max(picture.width, picture.height));
    let faces = (await find(ort, session, smaller(picture, scale))).map((face) => moved(face, scale, 0, 0));
    if (scale < 1) {
      const seen = [];
      for (const face of faces) seen.push(await closer(ort, session, picture, face)); // one after the other: one session
      faces = seen;
    }
    return faces.sort((one, other) => area(other) - area(one));
  };
}

// Look at a face of a large picture again, where it has more pixels.
async function closer(ort, session, picture, face) {
  const [left, top, width, height] = face.box;
  const half = (AROUND * Math.max(width, height)) / 2;
  const corner = [Math.round(left + width / 2 - half), Math.round(top + height / 2 - half)];
  const side = Math.round(2 * half);
  const scale = Math.min(1, AGAIN / side);
  const found = (await find(ort, session, smaller(piece(picture, corner, side), scale)))
    .map((each) => moved(each, scale, ...corner))
    .filter((each) => overlap(each.box, face.box) > OVERLAP);
  return found.reduce((best, each) => (best === null || each.score > best.score ? each : best), null) ?? face;
}

// Give the faces of a picture that is not larger than the network sees.
async function find(ort, session, { width, height, data }) {
  const [across, down] = [32 * Math.ceil(width / 32), 32 * Math.ceil(height / 32)];
  const pixels = new Float32Array(3 * across * down);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      for (let colour = 0; colour < 3; colour++) { // blue first
        pixels[(colour * down + row) * across + column] = data[4 * (row * width + column) + 2 - colour];
      }
    }
  }
  const given = await session.run({ [session.inputNames[0]]: new ort.Tensor("float32", pixels, [1, 3, down, across]) });
  const faces = STRIDES.flatMap((stride) => read(given, stride, across / stride));
  const kept = [];
  for (const face of faces.sort((one, other) => other.score - one.score)) {
    if (kept.every((other) => overlap(face.box, other.box) <= OVERLAP)) kept.push(face);
  }
  return kept;
}

// Read the faces of one scale.
function read(given, stride, columns) {
  const [cls, obj, box, kps] = ["cls", "obj", "bbox", "kps"].map((name) => given[`${name}_${stride}`].data);
  const faces = [];
  for (let place = 0; place < cls.length; place++) {
    const score = Math.sqrt(Math.min(1, Math.max(0, cls[place])) * Math.min(1, Math.max(0, obj[place])));
    if (score < LEAST) continue;
    const corner = [place % columns, Math.floor(place / columns)];
    const middle = corner.map((each, axis) => (each + box[4 * place + axis]) * stride);
    const extent = [2, 3].map((axis) => Math.exp(box[4 * place + axis]) * stride);
    const points = [0, 1, 2, 3, 4].map((at) => corner.map((each, axis) => (kps[10 * place + 2 * at + axis] + each) * stride));
    faces.push({ score, box: [...middle.map((each, axis) => each - extent[axis] / 2), ...extent], points });
  }
  return faces;
}

// Give the same face in the picture that was scaled down and cut out of another.
function moved({ score, box, points }, scale, left, top) {
  const there = ([x, y]) => [x / scale + left, y / scale + top];
  return { score, box: [...there(box), box[2] / scale, box[3] / scale], points: points.map(there) };
}

function smaller(picture, scale) {
  if (scale === 1) return picture;
  return scaled(picture, ...[picture.width, picture.height].map((side) => Math.max(1, Math.round(side * scale))));
}

// Cut out a square of whole pixels; what lies outside is black.
function piece({ width, height, data }, [left, top], side) {
  const found = new Uint8ClampedArray(4 * side * side);
  for (let row = Math.max(0, -top); row < Math.min(side, height - top); row++) {
    const [from, to] = [Math.max(0, left), Math.min(width, left + side)];
    if (from < to) found.set(data.subarray(4 * ((top + row) * width + from), 4 * ((top + row) * width + to)), 4 * (row * side + from - left));
  }
  return { width: side, height: side, data: found };
}

function area({ box }) {
  return box[2] * box[3];
}

// Give what two boxes have in common as a share of their union.
function overlap(one, other) {
  const shared = [0, 1].map((axis) => Math.min(one[axis] + one[axis + 2], other[axis] + other[axis + 2]) - Math.max(one[axis], other[axis]));
  const common = Math.max(0, shared[0]) * Math.max(0, shared[1]);
  return common / Math.max(one[2] * one[3] + other[2] * other[3] - common, 1e-9);
}
