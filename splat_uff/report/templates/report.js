const slider = document.getElementById("granularity");
if (slider) {
  const words = slider.dataset.words.split(",");
  const show = () => {
    document.getElementById("segments").textContent = words[slider.value];
    for (const stack of document.querySelectorAll(".stack")) {
      const images = [...stack.querySelectorAll("img")];
      images.forEach((image, place) => { image.hidden = place != slider.value; });
    }
  };
  slider.addEventListener("input", show);
  show();
}
