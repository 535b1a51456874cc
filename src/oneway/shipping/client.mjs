// What client.py does, in a browser: bytes instead of a picture. Give it onnxruntime-web as `ort`, whichever build.
//
//   const client = await open(ort, "bundle/");
//   const bytes = await client.encode(pixels);       // Uint8Array, what leaves the device
//   const answer = await client.ask("https://server", bytes);

// Open the bundle at an address that ends in a slash.
export async function open(ort, address) {
  const agreed = await (await fetch(`${address}contract.json`)).arrayBuffer();
  const contract = JSON.parse(new TextDecoder().decode(agreed));
  const bundle = hex(await crypto.subtle.digest("SHA-256", agreed));
  const session = await ort.InferenceSession.create(`${address}device.onnx`);
  const size = contract.picture.size;
  return {
    contract,
    // `pixels`: ImageData of size x size, or its bytes; transparency is not looked at, so draw on white first.
    async encode(pixels) {
      const rgba = pixels.data ?? pixels;
      if (rgba.length !== 4 * size * size) throw new Error(`pixels must be RGBA of ${size} x ${size}`);
      const rgb = Uint8Array.from({ length: 3 * size * size }, (_, at) => rgba[4 * Math.floor(at / 3) + (at % 3)]);
      const picture = new ort.Tensor("uint8", rgb, [1, size, size, 3]);
      const { vector } = await session.run({ picture });
      return message(vector.data, contract);
    },
    ask: (url, bytes, token) => ask(url, bytes, bundle, token),
  };
}

// Send a message of a bundle, named by the sha256 of its contract.json, and give the answer.
export async function ask(url, bytes, bundle, token) {
  const request = hex(crypto.getRandomValues(new Uint8Array(16)));
  const headers = { "Content-Type": "application/octet-stream", "Oneway-Bundle": bundle, "Oneway-Request": request };
  if (token) headers.Authorization = `Bearer ${token}`;
  const answer = await fetch(`${url.replace(/\/$/, "")}/decide`, { method: "POST", headers, body: bytes });
  if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`);
  return answer.json();
}

// Add noise to the numbers of one picture, round them to the levels that were agreed, and pack these.
export function message(numbers, contract, drawn = normal(numbers.length)) {
  const { bits, clip } = contract.quantisation;
  const top = 2 ** (bits - 1) - 1;
  const step = Math.fround(clip / top);
  const deviation = contract.noise === null ? 0 : contract.noise.deviation;
  const levels = Int8Array.from(numbers, (number, at) => {
    const noisy = Math.fround(deviation === 0 ? number : number + deviation * drawn[at]);
    return Math.max(-top, Math.min(top, even(Math.fround(noisy / step))));
  });
  if (bits === 8) return new Uint8Array(levels.buffer);
  const half = (at) => (at < levels.length ? levels[at] & 15 : 0);
  return Uint8Array.from({ length: Math.ceil(levels.length / 2) }, (_, at) => half(2 * at) | (half(2 * at + 1) << 4));
}

// Draw standard normal numbers from the browser's entropy (Box and Muller 1958); nothing is kept.
export function normal(count) {
  const pairs = Math.ceil(count / 2);
  const bits = new Uint32Array(4 * pairs);
  for (let at = 0; at < bits.length; at += 16384) crypto.getRandomValues(bits.subarray(at, at + 16384));
  const uniform = (at) => ((bits[2 * at] >>> 5) * 2 ** 26 + (bits[2 * at + 1] >>> 6) + 1) * 2 ** -53;
  const drawn = new Float64Array(2 * pairs);
  for (let at = 0; at < pairs; at++) {
    const radius = Math.sqrt(-2 * Math.log(uniform(2 * at)));
    const angle = 2 * Math.PI * uniform(2 * at + 1);
    drawn[2 * at] = radius * Math.cos(angle);
    drawn[2 * at + 1] = radius * Math.sin(angle);
  }
  return drawn.subarray(0, count);
}

// Round to the nearest whole number, halves to the even one.
function even(number) {
  const down = Math.floor(number);
  const over = number - down;
  return over < 0.5 || (over === 0.5 && down % 2 === 0) ? down : down + 1;
}

function hex(bytes) {
  return Array.from(new Uint8Array(bytes), (each) => each.toString(16).padStart(2, "0")).join("");
}
