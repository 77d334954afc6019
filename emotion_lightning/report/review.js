"use strict";
// Everything from the data goes into the page as text, never as HTML.
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const items = data.items;
const EXCLUDED = "";

// All pages of a review share one record: what was decided by the image's name, and in which order.
function load() {
  try {
    const kept = JSON.parse(localStorage.getItem(data.key));
    if (kept) return kept;
  } catch (error) {
    warn(`This browser keeps nothing for this page, so save often (${error.message})`);
  }
  const record = { rows: {}, order: [] };
  for (const row of data.earlier) record.rows[`/${row[0]}`] = row;
  return record;
}

function store() {
  try {
    localStorage.setItem(data.key, JSON.stringify(record));
  } catch (error) {
    warn(`This browser does not keep what you decide, so save now (${error.message})`);
  }
}

function warn(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = false;
}

// The slash keeps a file called __proto__ from being something else.
const rowOf = (item) => record.rows[`/${item.name}`];

function decide(label) {
  const item = items[at];
  if (!item) return;
  record = load();  // another tab may have gone on
  record.rows[`/${item.name}`] = [item.name, item.hash, item.given, label, item.why];
  record.order = record.order.filter((name) => name !== item.name).concat(item.name);
  store();
  at = nextOpen(at + 1);
  show();
}

function undo() {
  const here = new Map(items.map((item, place) => [item.name, place]));
  const name = record.order.findLast((each) => here.has(each));
  if (name === undefined) return;
  record.order = record.order.filter((each) => each !== name);
  delete record.rows[`/${name}`];
  const earlier = data.earlier.find((row) => row[0] === name);
  if (earlier) record.rows[`/${name}`] = earlier;
  store();
  at = here.get(name);
  show();
}

// The next image without a decision, from a place on and then from the start; behind the last if there is none.
function nextOpen(from) {
  const decided = new Set(record.order);
  const open = (item) => !decided.has(item.name);
  const later = items.findIndex((item, place) => place >= from && open(item));
  const any = later < 0 ? items.findIndex(open) : later;
  return any < 0 ? items.length : any;
}

function move(by) {
  at = Math.min(Math.max(at + by, 0), items.length);
  show();
}

function csv(fields) {
  return fields.map((field) => `"${String(field).replaceAll('"', '""')}"`).join(",") + "\r\n";
}

function save() {
  const text = csv(data.columns) + Object.values(record.rows).map(csv).join("");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = "corrections.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function add(parent, tag, text = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  parent.append(made);
  return made;
}

function show() {
  const item = items[at];
  const decided = new Set(record.order);
  const done = items.filter((each) => decided.has(each.name)).map(rowOf);
  const changed = done.filter((row) => row[3] !== EXCLUDED && row[3] !== row[2]).length;
  const out = done.filter((row) => row[3] === EXCLUDED).length;
  const where = item ? `Image ${data.first + at + 1}. ` : "The end of this page. ";
  byId("progress").textContent =
    `${where}Decided here: ${done.length} of ${items.length}, ${changed} changed, ${out} left out, ` +
    `${done.length - changed - out} kept.`;
  for (const id of ["face", "classes"]) byId(id).hidden = !item;
  byId("classes").replaceChildren();
  byId("copies").replaceChildren();
  for (const id of ["name", "why", "decided"]) byId(id).textContent = "";
  if (!item) return;
  byId("face").src = item.picture;
  byId("face").alt = item.picture ? "the face" : "unreadable";
  byId("name").textContent = item.name;
  byId("why").textContent = item.why;
  showClasses(item);
  for (const copy of item.copies) showCopy(copy);
}

function showClasses(item) {
  const row = rowOf(item);
  data.classes.forEach((name, place) => {
    const button = add(byId("classes"), "button");
    add(button, "kbd", place < 9 ? String(place + 1) : "");
    add(button, place === item.label ? "b" : "span", place === item.label ? `${name}, its label` : name);
    if (item.probabilities) {
      const meter = add(button, "meter");
      meter.value = item.probabilities[place];
      meter.setAttribute("aria-label", "probability");
      add(button, "span", item.probabilities[place].toFixed(2));
    }
    button.classList.toggle("chosen", Boolean(row) && row[3] === name);
    button.addEventListener("click", () => decide(name));
  });
  if (row) byId("decided").textContent = row[3] === EXCLUDED ? "Left out." : `Decided: ${row[3]}.`;
}

function showCopy(copy) {
  const figure = add(byId("copies"), "figure");
  figure.className = "face";
  const picture = add(figure, "img");
  picture.src = copy.picture;
  picture.alt = "a copy";
  add(figure, "figcaption", `${data.classes[copy.label]}, ${copy.kind}`);
  add(figure, "code", copy.name);
}

const keep = () => items[at] && decide(data.classes[items[at].label]);
const actions = {
  keep, undo, save,
  exclude: () => decide(EXCLUDED),
  back: () => move(-1),
  next: () => move(1),
};
const keys = { " ": "keep", x: "exclude", u: "undo", s: "save", ArrowLeft: "back", ArrowRight: "next" };

for (const [id, action] of Object.entries(actions)) byId(id).addEventListener("click", action);
document.addEventListener("click", (event) => event.detail && document.activeElement.blur());  // keys stay the page's
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === " " && document.activeElement.tagName === "BUTTON") return;  // which it presses
  const name = data.classes[Number(event.key) - 1];
  if (event.key in keys) actions[keys[event.key]]();
  else if (name !== undefined && event.key !== " ") decide(name);
  else return;
  event.preventDefault();
});

let record = load();
let at = nextOpen(0);
show();
