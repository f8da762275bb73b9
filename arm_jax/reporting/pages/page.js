"use strict";

// The value that the template's `parts.data(id, value)` put into the page.
function pageData(id) {
  return JSON.parse(document.getElementById(id).textContent);
}

// Layers of an image under a slider. Layers of equal names move together all over the page.
function showLayer(box, number) {
  const images = box.querySelectorAll(".stack img");
  const buttons = box.querySelectorAll(".ticks button");
  const over = images[number].classList.contains("over");
  images.forEach((image, i) => { image.hidden = i !== number && !(over && i === 0); });
  box.querySelector(".stack").classList.toggle("dim", over);
  buttons.forEach((button, i) => { button.setAttribute("aria-pressed", i === number); });
  const slider = box.querySelector("input");
  slider.value = number;
  slider.setAttribute("aria-valuetext", buttons[number].textContent);
}

function showLayers(from, number) {
  const name = from.querySelectorAll(".ticks button")[number].textContent;
  showLayer(from, number);
  const all = document.getElementById("together");
  if (all && !all.checked) return;
  document.querySelectorAll("[data-layers]").forEach((box) => {
    const names = [...box.querySelectorAll(".ticks button")].map((b) => b.textContent);
    if (box !== from && names.includes(name)) showLayer(box, names.indexOf(name));
  });
}

function setUpLayers(box) {
  const slider = box.querySelector("input");
  const count = box.querySelectorAll(".stack img").length;
  slider.addEventListener("input", () => showLayers(box, Number(slider.value)));
  box.querySelectorAll(".ticks button").forEach((button, i) => {
    button.addEventListener("click", () => showLayers(box, i));
  });
  // A click on the image itself goes on to the next layer.
  box.querySelector(".stack").addEventListener("click", () => {
    showLayers(box, (Number(slider.value) + 1) % count);
  });
  showLayer(box, Number(box.dataset.first));  // a reload may have kept the slider elsewhere
}

// A table whose headings sort: first the largest number or the first letter, then the reverse.
function sortBy(table, column, direction) {
  const key = (row) => row.cells[column].dataset.key;
  const number = table.tHead.rows[0].cells[column].classList.contains("number");
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");  // what is missing is last
    const order = number ? Number(x) - Number(y) : x.localeCompare(y);
    return direction === "ascending" ? order : -order;
  });
  body.append(...rows);
}

function setUpSorting(table) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const first = heading.classList.contains("number") ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const direction = heading.getAttribute("aria-sort") === first ? other : first;
      headings.forEach((one) => one.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", direction);
      sortBy(table, column, direction);
    });
  });
}

// The values of a chart under the pointer, or where the arrow keys have gone.
function setUpChart(svg) {
  const chart = JSON.parse(svg.dataset.chart);
  const line = svg.querySelector(".pointer");
  const output = svg.parentElement.querySelector("output");
  if (!chart.series.length) return;
  const figure = (value) => value.toLocaleString("en", { maximumFractionDigits: chart.digits });
  const nearest = (values, at) => {
    let best = 0;
    values.forEach((value, i) => {
      if (Math.abs(value - at) < Math.abs(values[best] - at)) best = i;
    });
    return best;
  };
  const longest = chart.series.reduce((a, b) => (b.at.length > a.at.length ? b : a));
  let place = null;
  function show(number) {
    place = Math.min(Math.max(number, 0), longest.at.length - 1);
    const at = longest.at[place];
    line.removeAttribute("hidden");
    line.setAttribute("transform", `translate(${at} 0)`);
    const values = chart.series.map((one) => {
      return `${one.name} ${figure(one.y[nearest(one.at, at)])}`;
    });
    output.textContent = [`${chart.x} ${figure(longest.x[place])}`, ...values].join(" \u00b7 ");
  }
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    show(nearest(longest.at, at));
  });
  svg.addEventListener("pointerleave", () => {
    line.setAttribute("hidden", "");
    output.textContent = "\u00a0";
  });
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(place === null ? 0 : place + step);
  });
}

document.querySelectorAll("[data-layers]").forEach(setUpLayers);
document.querySelectorAll("table[data-sortable]").forEach(setUpSorting);
document.querySelectorAll("[data-chart]").forEach(setUpChart);
