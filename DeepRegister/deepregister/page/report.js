"use strict";
// The pictures are in the page once; the slider shows copies of them on top of each other.
(() => {
  const fader = document.getElementById("fader");
  const stage = document.getElementById("stage");
  const range = document.getElementById("fade");
  const said = document.getElementById("faded");
  const blink = document.getElementById("blink");
  const tiles = [...document.querySelectorAll("#pictures .tile")];
  let timer = null;

  for (let row = 0; row < tiles.length; row += 3) {
    const tile = tiles[row].cloneNode(true);
    const still = tile.querySelector("img");
    const moved = tiles[row + 2].querySelector("img").cloneNode(true);
    moved.className = "moved";
    still.after(moved);
    stage.append(tile);
  }

  const show = () => {
    const share = Number(range.value);
    stage.style.setProperty("--share", share / 100);
    said.textContent = share === 0 ? "fixed" : share === 100 ? "registered" : `${share} % registered`;
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    blink.setAttribute("aria-pressed", "false");
  };
  const set = (value) => {
    range.value = value;
    show();
  };
  range.addEventListener("input", () => { stop(); show(); });
  document.getElementById("to-fixed").addEventListener("click", () => { stop(); set(0); });
  document.getElementById("to-registered").addEventListener("click", () => { stop(); set(100); });
  blink.addEventListener("click", () => {
    if (timer !== null) { stop(); return; }
    blink.setAttribute("aria-pressed", "true");
    set(0);
    timer = setInterval(() => set(range.value === "0" ? 100 : 0), 800);
  });
  show();
  fader.hidden = false;
})();
