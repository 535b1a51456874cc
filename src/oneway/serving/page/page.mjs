// A picture is cut and encoded here; what is posted is the bytes alone.
import { open } from "/bundle/client.mjs";

const byId = (id) => document.getElementById(id);
const view = byId("view");
const place = { x: 0.5, y: 0.5 };
let picture = null;
let client = null;
let message = null;

function say(text, failed = false) {
  byId("state").textContent = text;
  byId("state").classList.toggle("failed", failed);
}

// The square of the photograph that is sent, in its pixels.
function box() {
  const most = Math.min(picture.width, picture.height);
  const side = most * (1 - 0.9 * Number(byId("zoom").value));
  return { side, left: (picture.width - side) * place.x, top: (picture.height - side) * place.y };
}

function draw(canvas) {
  const { side, left, top } = box();
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  pen.fillStyle = "white";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(picture, left, top, side, side, 0, 0, canvas.width, canvas.height);
  return pen;
}

function guide(pen) {
  pen.strokeStyle = "#0a0";
  for (const [x, y] of client.contract.picture.points ?? []) {
    pen.beginPath();
    pen.arc(x * view.width, y * view.height, 7, 0, 2 * Math.PI);
    pen.stroke();
  }
}

// Encode what the box shows; noise is drawn anew, and the picture goes nowhere.
async function encode() {
  const size = client.contract.picture.size;
  const small = new OffscreenCanvas(size, size);
  message = await client.encode(draw(small).getImageData(0, 0, size, size));
  guide(draw(view));
  const pen = byId("sent").getContext("2d");
  const wide = byId("sent").width / message.length;
  message.forEach((byte, at) => {
    pen.fillStyle = `rgb(${byte ^ 128}, ${byte ^ 128}, ${byte ^ 128})`;
    pen.fillRect(at * wide, 0, wide, byId("sent").height);
  });
  byId("bytes").textContent = `${message.length} bytes, each a bar; the picture has ${3 * size * size} numbers.`;
  byId("answers").replaceChildren();
  byId("ask").disabled = false;
}

function line(name, decided, share) {
  const row = document.createElement("div");
  row.className = decided ? "answer" : "answer no";
  const meter = Object.assign(document.createElement("meter"), { value: share });
  row.append(Object.assign(document.createElement("span"), { textContent: name.replaceAll("_", " ") }), meter);
  row.append(`${Math.round(100 * share)} %`);
  return row;
}

// Every answer as words and bars: a number alone has no bar.
function show(answer) {
  const rows = Object.entries(answer).flatMap(([name, told]) => {
    if (told.probabilities) {
      return Object.entries(told.probabilities).map(([each, share]) => line(`${name}: ${each}`, each === told.decision, share));
    }
    if (told.probability !== undefined) return [line(name, told.decision, told.probability)];
    return [Object.assign(document.createElement("p"), { textContent: `${name}: ${told.decision.toFixed(1)}` })];
  });
  byId("answers").replaceChildren(...rows);
}

// Do what a person asked for, and say what went wrong with it.
const trying = (work) => async (event) => {
  try {
    await work(event);
  } catch (error) {
    say(String(error.message ?? error), true);
  }
};

byId("ask").addEventListener("click", trying(async () => {
  byId("ask").disabled = true; // one answer for each encoding
  show((await client.ask(location.origin, message, byId("token").value)).answers[0]);
}));
byId("file").addEventListener("change", trying(async () => {
  picture = await createImageBitmap(byId("file").files[0]);
  await encode();
}));
byId("zoom").addEventListener("change", trying(encode));
view.addEventListener("pointermove", (event) => {
  if (!event.buttons || !picture) return;
  const { side } = box();
  const scale = side / view.clientWidth;
  place.x = Math.min(1, Math.max(0, place.x - (event.movementX * scale) / Math.max(1, picture.width - side)));
  place.y = Math.min(1, Math.max(0, place.y - (event.movementY * scale) / Math.max(1, picture.height - side)));
  guide(draw(view));
});
view.addEventListener("pointerup", trying(async () => { if (picture) await encode(); }));

// A face that is drawn, so that something is there at once.
function example() {
  const canvas = new OffscreenCanvas(256, 256);
  const pen = canvas.getContext("2d");
  const points = client.contract.picture.points ?? [[0.35, 0.42], [0.65, 0.42], [0.5, 0.58], [0.38, 0.72], [0.62, 0.72]];
  const [left, right, nose, from, to] = points.map(([x, y]) => [256 * x, 256 * y]);
  const ellipse = (x, y, wide, high, colour) => {
    pen.fillStyle = colour;
    pen.beginPath();
    pen.ellipse(x, y, wide, high, 0, 0, 2 * Math.PI);
    pen.fill();
  };
  const apart = right[0] - left[0];
  pen.fillStyle = "#9ab";
  pen.fillRect(0, 0, 256, 256);
  ellipse(nose[0], nose[1] - 0.2 * apart, 1.25 * apart, 1.6 * apart, "#532");
  ellipse(nose[0], nose[1], apart, 1.35 * apart, "#db9");
  for (const [x, y] of [left, right]) {
    ellipse(x, y, 0.2 * apart, 0.12 * apart, "#fff");
    ellipse(x, y, 0.09 * apart, 0.1 * apart, "#234");
  }
  ellipse(...nose, 0.12 * apart, 0.1 * apart, "#c97");
  pen.strokeStyle = "#a44";
  pen.lineWidth = 0.1 * apart;
  pen.beginPath();
  pen.moveTo(...from);
  pen.quadraticCurveTo(nose[0], from[1] + 0.3 * apart, ...to);
  pen.stroke();
  return createImageBitmap(canvas);
}

await trying(async () => {
  const runtime = "/web/ort.wasm.min.mjs";
  if (!(await fetch("/healthz")).ok) throw new Error("the server does not answer");
  let ort;
  try {
    ort = await import(runtime);
  } catch {
    throw new Error("onnxruntime-web is missing: npm install onnxruntime-web, and start the server with --web node_modules/onnxruntime-web/dist");
  }
  ort.env.wasm.wasmPaths = "/web/";
  ort.env.wasm.numThreads = 1;
  client = await open(ort, "/bundle/");
  byId("hint").textContent = client.contract.picture.points ? "Move the picture so that eyes, nose and mouth lie in the circles." : client.contract.picture.crop;
  picture = await example();
  await encode();
  say("ready: the device's part of the bundle runs in this page");
})();
