// A picture is cut and encoded here; what is posted is the bytes alone.
import * as attacker from "./attacker.mjs";
import { camera } from "./camera.mjs";
import * as detector from "./detector.mjs";
import { frame, pixels } from "./frame.mjs";
import { cut, fitted, middle } from "./pixels.mjs";
import { barcode, draw, rows } from "./shown.mjs";

const SMALLER = 0.5; // size of a second face, as a share of the largest, from which nobody can tell which is meant
const byId = (id) => document.getElementById(id);
const opened = new Map();
let [served, ort, finder, view] = [null, null, null, null];
let [message, drawn] = [null, false]; // what is shown as sent, and whether nobody is in the picture
let working = Promise.resolve();

function say(text, failed = false) {
  byId("state").textContent = text;
  byId("state").classList.toggle("failed", failed);
}

// Do what a person asked for after what was asked before, and say what went wrong with it.
const trying = (work) => (event) => {
  working = working.then(() => work(event)).catch((error) => say(String(error.message ?? error), true));
  return working;
};

// Open a bundle by its name: its client, and its attacker if there is one.
async function bundle(name) {
  if (!opened.has(name)) {
    const address = `/bundle/${name}/`;
    const client = await (await import(`${address}client.mjs`)).open(ort, address);
    opened.set(name, { client, thief: await attacker.open(ort, address, client.contract) });
  }
  return opened.get(name);
}

function chosen() {
  return served.bundles[Number(byId("bundle").value)];
}

// Encode what the frame shows; noise is drawn anew, and the picture goes nowhere.
async function encode() {
  const { client, thief } = await bundle(chosen().bundle);
  const { size } = client.contract.picture;
  const square = cut(view.photograph, view.placing, size);
  message = await client.encode(square);
  barcode(byId("sent"), message);
  byId("bytes").textContent = `${message.length.toLocaleString("en")} bytes, each a bar; the picture has ${(3 * size * size).toLocaleString("en")} numbers.`;
  byId("answers").replaceChildren();
  byId("ask").disabled = false;
  byId("thief").hidden = thief === null;
  if (thief !== null) {
    draw(byId("stolen"), await thief(message));
    byId("who").textContent = attacker.said(client.contract.attacker);
    if (served.control !== null) await beside(square);
  }
  if (drawn && (!served.guarded || byId("token").value)) await ask();
}

// Draw the same of an unprotected encoder, whose bytes are sent nowhere.
async function beside(square) {
  const { client, thief } = await bundle(served.control);
  const other = await client.encode(square);
  draw(byId("unprotected"), await thief(other));
  byId("beside").hidden = false;
  byId("much").textContent = `of an unprotected encoder's ${other.length.toLocaleString("en")} bytes, by ${client.contract.attacker.name}`;
}

async function ask() {
  byId("ask").disabled = true; // one answer for each encoding
  const { client } = await bundle(chosen().bundle);
  const told = await client.ask(location.origin, message, byId("token").value);
  byId("answers").replaceChildren(...rows(told.answers[0]));
}

// Take a photograph: its face is found here, or lies where `points` say, or a person moves it there.
async function take(picture, points = null) {
  const photograph = pixels(picture);
  const goal = await template();
  let where = middle(photograph);
  drawn = points !== null;
  let told = "ready: the device's part of the bundle runs in this page";
  if (goal !== null && points === null && finder !== null) {
    const faces = await finder(photograph);
    points = faces[0]?.points ?? null;
    const [first, second] = faces.map(({ box }) => box[2] * box[3]);
    if (points === null) told = "no face was found: move the picture so that eyes, nose and mouth lie in the circles";
    else told = second >= SMALLER * first ? "several faces were found, and the largest is taken" : "a face was found";
  }
  if (goal !== null && points !== null) where = fitted(goal, points);
  view.put(photograph, where);
  await encode();
  say(told);
}

async function template() {
  return (await bundle(chosen().bundle)).client.contract.picture.points;
}

// Take a person who does not exist.
async function example(place) {
  const buttons = [...byId("faces").children];
  buttons.forEach((each, at) => each.setAttribute("aria-pressed", String(at === place)));
  const { width, height } = buttons[place].firstChild.dataset;
  await take(await createImageBitmap(await (await fetch(buttons[place].firstChild.src)).blob()), served.faces.points.map(([x, y]) => [x * width, y * height]));
}

async function photograph(picture) {
  for (const each of byId("faces").children) each.setAttribute("aria-pressed", "false");
  await take(picture);
}

// Show who can be chosen.
function faces({ count, side }) {
  byId("faces").replaceChildren(...Array.from({ length: count }, (_, place) => {
    const button = document.createElement("button");
    const picture = Object.assign(document.createElement("img"), { src: `/page/face-${place}.png`, alt: `drawn face ${place + 1}` });
    Object.assign(picture.dataset, { width: side, height: side });
    button.append(picture);
    button.addEventListener("click", trying(() => example(place)));
    return button;
  }));
}

async function choose() {
  const { name, title, utility } = chosen();
  byId("chosen").textContent = `${name}: ${title} ${utility.toFixed(3)}`;
  if (view !== null) await encode();
}

function listen() {
  byId("ask").addEventListener("click", trying(ask));
  byId("file").addEventListener("change", trying(async () => {
    if (byId("file").files.length) await photograph(await createImageBitmap(byId("file").files[0]));
  }));
  byId("bundle").addEventListener("change", trying(choose));
  byId("camera").addEventListener("click", trying(camera(byId("camera"), byId("live"), photograph)));
  for (const each of byId("moving").querySelectorAll("[data-by]")) each.addEventListener("click", () => view.zoom(Number(each.dataset.by)));
  for (const each of byId("moving").querySelectorAll("[data-turn]")) each.addEventListener("click", () => view.rotate(Number(each.dataset.turn)));
}

await trying(async () => {
  served = await (await fetch("/page/served.json")).json();
  try {
    ort = await import("/web/ort.wasm.min.mjs");
  } catch {
    throw new Error("onnxruntime-web is missing: start the server with --web npm; or npm install onnxruntime-web, and start the server with --web node_modules/onnxruntime-web/dist");
  }
  ort.env.wasm.wasmPaths = "/web/";
  ort.env.wasm.numThreads = 1;
  [byId("tradeoff").hidden, byId("guarded").hidden] = [served.bundles.length < 2, !served.guarded];
  byId("bundle").max = String(served.bundles.length - 1);
  byId("bundle").value = byId("bundle").max;
  if (served.bundles.length > 1) await choose();
  const { picture } = (await bundle(chosen().bundle)).client.contract;
  if (served.detector) finder = await detector.open(ort, "/page/detector.onnx");
  byId("hint").textContent = picture.points ? "Move the picture so that eyes, nose and mouth lie in the circles." : `A photograph shows: ${picture.crop}.`;
  view = frame(byId("view"), picture.points, trying(encode));
  faces(served.faces);
  listen();
  await example(0);
})();
