// Labelled controls, each an element that calls `change` with its value.

/** An element with properties and children; "class", "role" and names with "-" are set as attributes. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (/^(class|for|role|list)$|-/.test(name)) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** The text of a number with the sign for minus that its font has. */
export const minus = (text) => text.replaceAll("-", "−");

let count = 0;
const fresh = () => `control-${++count}`;

/** Calls `action` once `wait` milliseconds have passed without another call. */
export function settled(action, wait = 120) {
  let timer;
  return (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...values), wait);
  };
}

/** A slider with its value and unit beside its label. `at once` sliders do not wait until they rest. */
export function slider({ label, min, max, step, value, change, show = (x) => x.toFixed(2), atOnce = false }) {
  const id = fresh();
  const output = make("output", { for: id }, show(value));
  const input = make("input", { type: "range", id, min, max, step, value });
  const later = atOnce ? change : settled(change);
  input.addEventListener("input", () => {
    output.textContent = show(input.valueAsNumber);
    input.setAttribute("aria-valuetext", show(input.valueAsNumber));
    later(input.valueAsNumber);
  });
  input.setAttribute("aria-valuetext", show(value));
  const element = make(
    "div",
    { class: "control slider" },
    make("label", { for: id }, label),
    output,
    input,
  );
  element.set = (x) => {
    input.value = x;
    output.textContent = show(input.valueAsNumber);
    input.setAttribute("aria-valuetext", show(input.valueAsNumber));
  };
  return element;
}

/** One of a few choices, as a row of chips. Options are [value, text] pairs. */
export function choice({ label, options, value, change }) {
  const name = fresh();
  const chips = options.map(([own, text]) => {
    const input = make("input", { type: "radio", name, value: String(own), checked: own === value });
    input.addEventListener("change", () => change(own));
    return make("label", { class: "chip" }, input, make("span", {}, text));
  });
  return make("fieldset", { class: "control" }, make("legend", {}, label), make("div", { class: "chips" }, ...chips));
}

/** Any of a few choices; `change` gets the list of those that are on. */
export function choices({ label, options, values, change }) {
  const inputs = options.map(([own]) =>
    make("input", { type: "checkbox", value: String(own), checked: values.includes(own) }),
  );
  const chips = options.map(([, text], i) => make("label", { class: "chip" }, inputs[i], make("span", {}, text)));
  const found = () => options.filter((_, i) => inputs[i].checked).map(([own]) => own);
  for (const input of inputs) input.addEventListener("change", () => change(found()));
  return make("fieldset", { class: "control" }, make("legend", {}, label), make("div", { class: "chips" }, ...chips));
}

/** A list to choose from, for many options. */
export function select({ label, options, value, change }) {
  const id = fresh();
  const element = make(
    "select",
    { id },
    ...options.map(([own, text]) => make("option", { value: String(own), selected: own === value }, text)),
  );
  element.addEventListener("change", () => change(options[element.selectedIndex][0]));
  return make("div", { class: "control pair" }, make("label", { for: id }, label), element);
}

/** A whole number of a seed. */
export function seed({ value, change }) {
  const id = fresh();
  const input = make("input", { type: "number", id, min: 0, max: 2147483647, step: 1, value, inputMode: "numeric" });
  input.addEventListener("change", () => {
    if (input.checkValidity() && input.value !== "") change(input.valueAsNumber);
    else input.reportValidity();
  });
  const element = make("div", { class: "control pair" }, make("label", { for: id }, "Seed"), input);
  element.set = (x) => (input.value = x);
  return element;
}

/** Several numbers in one field; `change` gets a list, or null with words of what is wrong. */
export function numbers({ label, size, value, hint, change }) {
  const id = fresh();
  const input = make("input", { type: "text", id, value: value.join(", "), inputMode: "text", autocomplete: "off" });
  if (hint) input.setAttribute("aria-description", hint);
  input.addEventListener("change", () => {
    const found = input.value.split(/[\s,;]+/).filter(Boolean).map(Number);
    const fits = found.length === size && found.every(Number.isFinite);
    input.setCustomValidity(fits ? "" : `Give ${size} numbers, with commas between them.`);
    if (input.reportValidity()) change(found);
  });
  return make("div", { class: "control" }, make("label", { for: id }, label), input);
}

export function button(text, action, kind = "plain") {
  const element = make("button", { type: "button", class: kind }, text);
  element.addEventListener("click", action);
  return element;
}
