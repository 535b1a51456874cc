// What a thief would draw of the bytes: the bundle's attacker.onnx.

// Open the attacker of a bundle: a function from a message to ImageData; nothing if the bundle has none.
export async function open(ort, address, contract) {
  if (!contract.attacker) return null;
  const session = await ort.InferenceSession.create(`${address}attacker.onnx`);
  return async (message) => {
    const levels = new ort.Tensor("int8", unpacked(message, contract), [1, contract.numbers]);
    const { picture } = await session.run({ levels });
    const [, height, width] = picture.dims;
    const drawn = new ImageData(width, height);
    for (let at = 0; at < width * height; at++) drawn.data.set([...picture.data.subarray(3 * at, 3 * at + 3), 255], 4 * at);
    return drawn;
  };
}

// Read the levels of a message: of 4 bits, the first of two is the lower half of a byte.
export function unpacked(message, { numbers, quantisation }) {
  if (quantisation.bits === 8) return new Int8Array(message.buffer, message.byteOffset, numbers);
  const signed = (half) => (half ^ 8) - 8;
  return Int8Array.from({ length: numbers }, (_, at) => signed(at % 2 ? message[at >> 1] >> 4 : message[at >> 1] & 15));
}

// Say who draws, what a judge sees in that, and that it is not the last word.
export function said({ name, trained_with: known, pictures, converged, ssim, floor, seen }) {
  const ended = converged ? "" : " It was ended by its budget.";
  return `Drawn by the attacker ${name}, which learned from ${pictures.toLocaleString("en")} pictures of other people.${ended}${judged(seen, known)} `
    + `Structural similarity ${ssim.toFixed(2)}, where always drawing the mean picture has ${floor.toFixed(2)}; all over test people. `
    + "A stronger attacker may exist, and not all that leaks can be seen: an audit says more.";
}

function judged(seen, known) {
  if (!seen) return "";
  const { judge, similarity, floor, recognised } = seen;
  const taken = recognised === null ? "" : `, and recognises ${(100 * recognised).toFixed(1)} %`;
  return ` ${judge}, which it ${known.includes(judge) ? "trained with" : "never saw"}, finds what it draws ${similarity.toFixed(2)} similar to the picture (the mean picture ${floor.toFixed(2)})${taken}.`;
}
