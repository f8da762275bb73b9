"use strict";

// Cards of a review. Only those near the window are in the document: 2,000 would be slow.
const review = pageData("review");
const BATCH = 60;
const decisions = new Map();  // number of an item -> true for accepted, false for rejected
const element = (id) => document.getElementById(id);
const keyOf = (item) => item.cells[0];
let visible = [];  // numbers of the items that pass the filters, in order
let drawn = 0;  // how many of them have a card
let current = -1;  // place in `visible`
const members = new Map();  // group -> numbers of its items
review.items.forEach((item, number) => {
  const name = item.group < 0 ? `single ${number}` : item.group;
  item.members = members.get(name) || [];
  item.members.push(number);
  members.set(name, item.members);
});

// A page that is opened again has the decisions that were made, where the browser keeps them.
const STORE = `arm_jax review ${review.name}`;
function remember() {
  try {
    const known = [...decisions].map(([number, accepted]) => [keyOf(review.items[number]), accepted]);
    localStorage.setItem(STORE, JSON.stringify(known));
  } catch (error) { /* nothing is kept then */ }
}
function recall() {
  try {
    const known = new Map(JSON.parse(localStorage.getItem(STORE) || "[]"));
    review.items.forEach((item, number) => {
      if (known.has(keyOf(item))) decisions.set(number, known.get(keyOf(item)));
    });
  } catch (error) { /* likewise */ }
}

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function swatch(name) {
  const node = make("i", "swatch");
  node.style.background = review.colors[name] || "transparent";
  return node;
}

function card(number) {
  const item = review.items[number];
  const figure = make("figure", "region");
  figure.dataset.number = number;
  const image = make("img");
  image.src = item.uri;
  image.width = item.width;
  image.height = item.height;
  image.decoding = "async";
  image.alt = `${item.given} to ${item.proposed} in ${item.image}`;
  const caption = make("figcaption");
  const title = make("strong");
  if (item.kind === "swapped") title.textContent = `has the label of ${item.other}`;
  else if (item.kind === "empty") title.textContent = "has no label";
  else title.append(swatch(item.given), `${item.given} \u2192 `, swatch(item.proposed), item.proposed);
  const facts = `${review.kinds[item.kind] || item.kind}, ${item.pixels.toLocaleString("en")} px`;
  caption.append(title, make("br"), `${item.score.toFixed(3)} \u00b7 ${facts}`, make("br"), item.image);
  const row = make("div", "decide");
  const button = (text, act) => {
    const node = make("button", "", text);
    node.type = "button";
    node.addEventListener("click", (event) => {
      event.stopPropagation();
      select(visible.indexOf(number), false);
      act();
    });
    row.append(node);
    return node;
  };
  button("accept", () => decide([number], true)).dataset.sets = "true";
  button("reject", () => decide([number], false)).dataset.sets = "false";
  if (item.members.length > 1) {
    button(`accept all ${item.members.length}`, () => decide(item.members, true));
    button(`reject all ${item.members.length}`, () => decide(item.members, false));
  }
  figure.append(image, caption, row);
  figure.addEventListener("click", () => select(visible.indexOf(number), false));
  mark(figure, number);
  return figure;
}

function mark(figure, number) {
  const decided = decisions.get(number);
  figure.classList.toggle("accepted", decided === true);
  figure.classList.toggle("rejected", decided === false);
  figure.querySelectorAll("[data-sets]").forEach((button) => {
    button.setAttribute("aria-pressed", String(decided) === button.dataset.sets);
  });
}

function count() {
  element("decided").textContent = decisions.size;
  element("accepted").textContent = [...decisions.values()].filter(Boolean).length;
}

function decide(numbers, accepted) {
  numbers.forEach((number) => {
    if (accepted === null) decisions.delete(number);
    else decisions.set(number, accepted);
    const figure = element("cards").querySelector(`[data-number="${number}"]`);
    if (figure) mark(figure, number);
  });
  count();
  remember();
}

function passes(item, number) {
  const filters = { given: "given", proposed: "proposed", kind: "what" };
  for (const [field, id] of Object.entries(filters)) {
    if (element(id).value !== "" && item[field] !== element(id).value) return false;
  }
  if (element("open").checked && decisions.has(number)) return false;
  return !element("grouped").checked || item.members[0] === number;
}

function draw() {
  visible = review.items.flatMap((item, number) => (passes(item, number) ? [number] : []));
  element("cards").replaceChildren();
  drawn = 0;
  current = -1;
  element("shown").textContent = `${visible.length.toLocaleString("en")} shown`;
  more();
  if (visible.length) select(0, false);
}

function more(until = drawn + 1) {
  while (drawn < Math.min(until, visible.length)) {
    const end = Math.min(drawn + BATCH, visible.length);
    element("cards").append(...visible.slice(drawn, end).map(card));
    drawn = end;
  }
}

function select(place, scroll = true) {
  if (place < 0 || place >= visible.length) return;
  more(place + 1);
  const cards = element("cards").children;
  if (cards[current]) cards[current].classList.remove("current");
  current = place;
  cards[current].classList.add("current");
  if (scroll) cards[current].scrollIntoView({ block: "nearest" });
}

// The CSV that scripts/apply_review.py and --decisions read: decided rows only.
function csv() {
  const quoted = (text) => (/[",\r\n;]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const rows = [...decisions].sort((a, b) => a[0] - b[0]).map(([number, accepted]) => [
    ...review.items[number].cells, accepted ? "accept" : "reject",
  ]);
  return [review.columns, ...rows].map((row) => row.map(quoted).join(",")).join("\r\n") + "\r\n";
}

function save() {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = "decisions.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (["SELECT", "TEXTAREA"].includes(event.target.tagName)) return;
  const number = visible[current];
  const key = event.key.toLowerCase();
  if (key === "n" || key === "arrowright") select(current + 1);
  else if (key === "p" || key === "arrowleft") select(current - 1);
  else if (number !== undefined && ["a", "r", "u"].includes(key)) {
    const chosen = event.shiftKey ? review.items[number].members : [number];
    decide(chosen, key === "u" ? null : key === "a");
    if (key !== "u") select(current + 1);
  } else return;
  event.preventDefault();
}

function fill(id, field, title = (value) => value) {
  const counts = new Map();
  review.items.forEach((item) => counts.set(item[field], (counts.get(item[field]) || 0) + 1));
  [...counts].sort((a, b) => b[1] - a[1]).forEach(([value, number]) => {
    const option = make("option", "", `${title(value)} (${number})`);
    option.value = value;
    element(id).append(option);
  });
}

fill("given", "given");
fill("proposed", "proposed");
fill("what", "kind", (kind) => review.kinds[kind] || kind);
["given", "proposed", "what", "grouped", "open"].forEach((id) => {
  element(id).addEventListener("change", draw);
});
element("save").addEventListener("click", save);
document.addEventListener("keydown", press);
new IntersectionObserver((entries) => {
  if (entries.some((entry) => entry.isIntersecting)) more();
}, { rootMargin: "1500px" }).observe(element("more"));
recall();
count();
draw();
