// What was sent as a barcode, and what was answered as words and bars.

// Draw every byte of a message as a bar, lighter if its number is larger.
export function barcode(canvas, message) {
  const pen = canvas.getContext("2d");
  const wide = canvas.width / message.length;
  message.forEach((byte, at) => {
    pen.fillStyle = `rgb(${byte ^ 128}, ${byte ^ 128}, ${byte ^ 128})`;
    pen.fillRect(at * wide, 0, wide, canvas.height);
  });
}

// Make the rows of an answer, the likeliest first; a number alone has no bar.
export function rows(answer) {
  const lines = [];
  const numbers = [];
  for (const [name, told] of Object.entries(answer)) {
    if (told.probabilities) {
      for (const [each, share] of Object.entries(told.probabilities)) lines.push([`${name}: ${each}`, each === told.decision, share]);
    } else if (told.probability === undefined) {
      numbers.push(Object.assign(document.createElement("p"), { textContent: `${name}: ${told.decision.toFixed(1)}` }));
    } else {
      lines.push([name, told.decision, told.probability]);
    }
  }
  return [...numbers, ...lines.sort((one, other) => other[2] - one[2]).map((each) => line(...each))];
}

function line(name, decided, share) {
  const row = document.createElement("div");
  row.className = decided ? "answer" : "answer no";
  const meter = Object.assign(document.createElement("meter"), { value: share });
  row.append(Object.assign(document.createElement("span"), { textContent: name.replaceAll("_", " ") }), meter);
  row.append(`${Math.round(100 * share)} %`);
  return row;
}

// Put a picture on a canvas of its size.
export function draw(canvas, picture) {
  [canvas.width, canvas.height] = [picture.width, picture.height];
  canvas.getContext("2d").putImageData(picture, 0, 0);
}
