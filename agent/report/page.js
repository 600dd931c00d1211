"use strict";
document.documentElement.classList.add("js");
for (const figure of document.querySelectorAll(".case")) {
  const pictures = new Map([...figure.querySelectorAll(".pictures img")].map((i) => [i.dataset.name, i]));
  const stage = figure.querySelector(".stage");
  const range = stage.querySelector("input");
  const names = { left: stage.dataset.left, right: stage.dataset.right };
  const image = { left: stage.querySelector(".over"), right: stage.querySelector(".under") };
  const tag = { left: stage.querySelector(".tag.l"), right: stage.querySelector(".tag.r") };
  const show = (side) => {
    const source = pictures.get(names[side]);
    image[side].src = source.src;
    image[side].alt = source.alt;
    tag[side].textContent = names[side];
    range.setAttribute("aria-label", `Divider between ${names.left} on the left and ${names.right} on the right`);
  };
  const move = () => {
    stage.style.setProperty("--x", `${range.value}%`);
    range.setAttribute("aria-valuetext", `${range.value} % ${names.left}`);
  };
  for (const select of figure.querySelectorAll("select")) {
    select.value = names[select.dataset.side];
    select.addEventListener("change", () => { names[select.dataset.side] = select.value; show(select.dataset.side); move(); });
  }
  range.addEventListener("input", move);
  show("left"); show("right"); move();
}
const theme = document.getElementById("theme");
const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme || (dark.matches ? "dark" : "light")) === "dark";
const tell = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
theme.hidden = false;
theme.addEventListener("click", () => { document.documentElement.dataset.theme = isDark() ? "light" : "dark"; tell(); });
dark.addEventListener("change", tell);
tell();
addEventListener("beforeprint", () => { for (const folded of document.querySelectorAll("details:not(:has(pre))")) folded.open = true; });
