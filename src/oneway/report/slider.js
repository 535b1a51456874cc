const slides = JSON.parse(document.getElementById("slides").textContent);
const weight = document.getElementById("weight");
function move() {
  const slide = slides[weight.value];
  document.getElementById("title").textContent = slide.title;
  if (slide.strip) document.getElementById("drawn").src = slide.strip;
  const here = document.getElementById("here");
  here.setAttribute("cx", slide.left);
  here.setAttribute("cy", slide.top);
  document.getElementById("figures").replaceChildren(...Object.entries(slide.figures).flatMap(([label, text]) => {
    const term = document.createElement("dt"), told = document.createElement("dd");
    term.textContent = label;
    told.textContent = text;
    return [term, told];
  }));
}
weight.addEventListener("input", move);
move();
