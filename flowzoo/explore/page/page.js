// The page: the list of models, the tabs of the one that is shown, and what they share.

import { worker, write } from "/ask.js";
import { make, minus } from "/controls.js";
import * as pictures from "/pictures.js";
import * as plane from "/plane.js";
import * as image from "/image.js";

const at = (id) => document.getElementById(id);
const TABS = {
  images: [
    ["Draw", pictures.draw],
    ["Walk", pictures.walk],
    ["Attributes", pictures.attributes, (about) => about.directions.length > 0],
    ["Image", image.image],
  ],
  plane: [
    ["Draw", plane.draw],
    ["Walk", plane.walk],
    ["Layers", plane.layers],
  ],
  vectors: [
    ["Draw", plane.draw],
  ],
};

let work = worker(at("status"));

/** A new worker; what the old one still waits for is not shown. */
function renewed() {
  work.stop();
  work = worker(at("status"));
  return work;
}

async function start() {
  let models, first;
  try {
    const response = await fetch("/models");
    if (!response.ok) throw new Error((await response.json()).error);
    ({ models, start: first } = await response.json());
  } catch (error) {
    write(at("status"), "error", error.message);
    return;
  }
  const list = at("models");
  for (const { name, title, problem } of models) {
    list.append(make("option", { value: name, disabled: problem !== "" }, problem ? `${title}: ${problem}` : title));
  }
  const known = (name) => models.some((model) => model.name === name && !model.problem);
  const shown = () => decodeURIComponent(location.hash.slice(1));
  list.addEventListener("change", () => (location.hash = encodeURIComponent(list.value)));
  window.addEventListener("hashchange", () => known(shown()) && open(shown()));
  if (known(shown())) open(shown());
  else if (first) open(first);
  else write(at("status"), "error", "No model has weights. Name a folder: flowzoo explore FOLDER.");
}

function open(name) {
  const model = [...at("models").options].find((option) => option.value === name);
  at("models").value = name;
  document.title = `${model.text} · flowzoo explorer`;
  at("name").textContent = model.text;
  at("text").textContent = "";
  at("facts").replaceChildren();
  at("tabs").hidden = true;
  at("panel").replaceChildren(make("div", { class: "waiting" }));
  renewed()("describe", { model: name }, (about) => {
    at("text").textContent = about.text;
    const facts = about.test === "–" ? about.facts : [...about.facts, `${minus(about.test)} on test data`];
    at("facts").replaceChildren(...facts.map((fact) => make("li", {}, fact)));
    const tabs = TABS[about.kind].filter(([, , fits]) => !fits || fits(about));
    const shared = { seed: 0, temperature: about.temperature, label: null, context: null, picked: [0, 1] };
    // What every tab gets: the model, what is chosen, and a way to ask with both.
    const page = {
      about,
      shared,
      ask: (action, request, show) =>
        work(action, { model: name, ...context(about, shared), ...request }, show),
      open: (title) => choose(tabs, title, page),
      say: (words) => write(at("status"), "error", words),
    };
    choose(tabs, tabs[0][0], page);
  });
}

const context = (about, shared) => (about.context ? { context: shared.context } : {});

/** Shows the tab of that title. */
function choose(tabs, title, page) {
  const buttons = tabs.map(([own]) => {
    const element = make("button", {
      type: "button",
      role: "tab",
      id: `tab-${own}`,
      tabIndex: own === title ? 0 : -1,
      "aria-selected": String(own === title),
      "aria-controls": "panel",
    }, own);
    element.addEventListener("click", () => choose(tabs, own, page));
    return element;
  });
  at("tabs").replaceChildren(...buttons);
  at("tabs").hidden = tabs.length < 2;
  at("tabs").onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const titles = tabs.map(([own]) => own);
    const next = titles[(titles.indexOf(title) + step + titles.length) % titles.length];
    choose(tabs, next, page);
    at(`tab-${next}`).focus();
  };
  at("panel").setAttribute("aria-labelledby", `tab-${title}`);
  at("panel").replaceChildren();
  at("panel").ondrop = null;
  renewed();
  write(at("status"), "done", "");
  tabs.find(([own]) => own === title)[1](page, at("panel"));
}

// A file that is dropped beside its place must not take the page's.
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
start();
