// Models of images: drawing, walking from one to another, and changing attributes.

import { button, choice, make, minus, numbers, seed, select, slider } from "/controls.js";

export const percent = (x) => `${Math.round(100 * x)} %`;

/** An image of the model's size, with sharp pixels where these are few. */
export function picture(url, about, alt) {
  const small = about.shape[1] <= 48;
  return make("img", { src: url, alt, class: small ? "sharp" : "smooth", draggable: false });
}

/** Pictures side by side; `pick(i)`, if given, makes them buttons, and `mark(i)` is what stands on each. */
export function grid(urls, about, { columns, names, pick, mark = () => "" }) {
  const cells = urls.map((url, i) => {
    const image = picture(url, about, names(i));
    if (!pick) return make("div", { class: "cell" }, image);
    const marked = mark(i);
    const cell = make("button", { type: "button", class: "cell", "aria-pressed": String(marked !== "") }, image);
    if (marked) cell.append(make("span", { class: "mark-of" }, marked));
    cell.addEventListener("click", () => pick(i));
    return cell;
  });
  const element = make("div", { class: "grid" }, ...cells);
  element.style.setProperty("--columns", columns);
  return element;
}

/** Empty cells while the first pictures are drawn. */
export function empty(n, columns) {
  const element = make("div", { class: "grid" }, ...Array.from({ length: n }, () => make("div", { class: "cell" })));
  element.style.setProperty("--columns", columns);
  return element;
}

/** One temperature, or under "each level" one a level of the latent. */
export function temperatures(page, change) {
  const { about, shared } = page;
  const one = slider({
    label: "Temperature",
    min: 0,
    max: 1.2,
    step: 0.05,
    value: shared.temperature,
    change: (value) => {
      shared.temperature = value;
      shared.byLevel = null;
      each.forEach((control) => control.set(value));
      change();
    },
  });
  if (about.levels.length < 2) return [one];
  const last = about.levels.length - 1;
  const each = about.levels.map((size, i) =>
    slider({
      label: `Level ${i + 1}${i === 0 ? ", finest" : i === last ? ", coarsest" : ""} (${size.toLocaleString()})`,
      min: 0,
      max: 1.2,
      step: 0.05,
      value: shared.byLevel?.[i] ?? shared.temperature,
      change: (value) => {
        shared.byLevel ??= about.levels.map(() => shared.temperature);
        shared.byLevel[i] = value;
        change();
      },
    }),
  );
  const more = make("details", {}, make("summary", {}, "Temperature of each level"), ...each);
  return [one, more];
}

/** The class to draw, and the numbers of any other context. */
export function conditions(page, change) {
  const { about, shared } = page;
  const found = [];
  if (about.classes) {
    const options = Array.from({ length: about.classes }, (_, i) => [i, String(i)]);
    if (about.kind === "images") options.unshift([null, "All"]);
    else shared.label ??= 0;
    const given = { label: "Class", options, value: shared.label, change: (x) => change((shared.label = x)) };
    found.push(about.classes <= 12 ? choice(given) : select(given));
  }
  if (about.context && about.context <= about.most_context) {
    shared.context ??= Array(about.context).fill(0);
    found.push(
      numbers({
        label: `Context, ${about.context} number${about.context > 1 ? "s" : ""}`,
        size: about.context,
        value: shared.context,
        change: (x) => change((shared.context = x)),
      }),
    );
  }
  return found;
}

export const layout = (stage, ...controls) => [
  make("div", { class: "stage" }, ...stage),
  make("div", { class: "controls" }, ...controls),
];

const counts = (about) => (about.classes && about.classes <= 10 ? [10, 20, 40] : [4, 16, 36, 64]);
const columnsOf = (n, about) => (about.classes && about.classes <= 10 ? 5 : Math.ceil(Math.sqrt(n)));
export const nameOf = (shared, i) =>
  `Sample ${i + 1}${shared.labels ? `, class ${shared.labels[i]}` : ""}`;

/** Asks for samples, which all tabs share. */
function drawn(page, show) {
  const { shared } = page;
  const request = {
    n: shared.n,
    seed: shared.seed,
    label: shared.label,
    temperature: shared.byLevel ?? shared.temperature,
  };
  if (page.about.guidance) request.guidance = shared.guidance ?? 0;
  page.ask("draw", request, ({ images, labels }) => {
    Object.assign(shared, { images, labels });
    shared.picked = shared.picked.map((i) => i % images.length);
    show();
  });
}

/** Shows what needs samples: at once if there are any, else once they are drawn. */
export function withSamples(page, show) {
  page.shared.n ??= counts(page.about)[1];
  if (page.shared.images) show();
  else drawn(page, show);
}

/** The tab that draws samples. */
export function draw(page, panel) {
  const { about, shared } = page;
  shared.n ??= counts(about)[1];
  const stage = make("div", {}, empty(shared.n, columnsOf(shared.n, about)));
  const again = () => drawn(page, show);
  const hint = make("p", { class: "hint" });

  function show() {
    const marks = shared.picked;
    const mark = (i) => (i === marks[0] ? "A" : i === marks[1] ? "B" : "");
    const pick = (i) => {
      shared.picked = [shared.picked[1], i];
      if (shared.picked[0] === i) shared.picked = [i, marks[0]];
      show();
      stage.querySelectorAll("button")[i].focus();
    };
    stage.replaceChildren(
      grid(shared.images, about, {
        columns: columnsOf(shared.images.length, about),
        names: (i) => nameOf(shared, i),
        pick,
        mark,
      }),
    );
    hint.textContent = "Press two pictures to walk from A to B, or to change and measure the last.";
  }

  const own = seed({ value: shared.seed, change: (value) => again((shared.seed = value)) });
  const others = button("Draw others", () => {
    shared.seed += 1;
    own.set(shared.seed);
    again();
  }, "main");
  const n = select({
    label: "How many",
    options: counts(about).map((x) => [x, String(x)]),
    value: shared.n,
    change: (value) => again((shared.n = value)),
  });
  const guidance = about.guidance
    ? [slider({ label: "Guidance", min: 0, max: 4, step: 0.1, value: shared.guidance ?? 0, show: (x) => x.toFixed(1),
        change: (value) => again((shared.guidance = value)) })]
    : [];
  panel.replaceChildren(
    ...layout([stage, hint], others, own, ...temperatures(page, again), ...conditions(page, again), ...guidance, n),
  );
  if (shared.images) show();
  else again();
}

/** The tab that walks from A to B. */
export function walk(page, panel) {
  const { about, shared } = page;
  const large = make("div", { class: "large" }, empty(1, 1));
  const strip = make("div", { class: "strip" });
  const ends = [make("div", { class: "end" }), make("div", { class: "end" })];
  let frames = [];
  let t = 0.5;

  function place() {
    if (!frames.length) return;
    const i = Math.round(t * (frames.length - 1));
    large.replaceChildren(picture(frames[i], about, `${percent(t)} of the way from A to B`));
    [...strip.children].forEach((cell, j) => cell.toggleAttribute("data-here", i === j));
  }

  function go() {
    const [a, b] = shared.picked;
    ends.forEach((end, j) =>
      end.replaceChildren(picture(shared.images[shared.picked[j]], about, nameOf(shared, shared.picked[j])), "AB"[j]),
    );
    const label = shared.labels ? shared.labels[a] : null;
    page.ask("walk", { a: shared.images[a], b: shared.images[b], label }, (answer) => {
      frames = answer.frames;
      strip.replaceChildren(...frames.map((frame) => picture(frame, about, "")));
      place();
    });
  }

  const along = slider({
    label: "From A to B", min: 0, max: 1, step: 0.1, value: t, show: percent, atOnce: true,
    change: (value) => place((t = value)),
  });
  const others = button("Two others", () => {
    const n = shared.images.length;
    const a = Math.floor(Math.random() * n);
    shared.picked = [a, (a + 1 + Math.floor(Math.random() * (n - 1))) % n];
    go();
  }, "main");
  panel.replaceChildren(
    ...layout(
      [large, strip],
      make("div", { class: "ends" }, ends[0], along, ends[1]),
      others,
      make("p", { class: "hint" }, "Each step is a point on the straight line between the two latents, decoded. " +
        "Pick other ends under Draw."),
    ),
  );
  withSamples(page, go);
}

/** The tab that moves a picture along attribute directions. */
export function attributes(page, panel) {
  const { about, shared } = page;
  const before = make("figure", {}, empty(1, 1));
  const after = make("figure", {}, empty(1, 1));
  shared.strengths ??= {};

  function go() {
    const image = shared.images[shared.picked[1]];
    const name = nameOf(shared, shared.picked[1]);
    before.replaceChildren(picture(image, about, name), make("figcaption", {}, name));
    const label = shared.labels ? shared.labels[shared.picked[1]] : null;
    page.ask("change", { image, strengths: shared.strengths, label }, (answer) => {
      after.replaceChildren(picture(answer.image, about, `${name}, changed`), make("figcaption", {}, "Changed"));
    });
  }

  const sliders = about.directions.map((name) =>
    slider({
      label: name.replaceAll("_", " "),
      min: -about.strength,
      max: about.strength,
      step: about.strength / 20,
      value: shared.strengths[name] ?? 0,
      show: (x) => (x > 0 ? "+" : "") + minus(x.toFixed(1)),
      change: (value) => go((shared.strengths[name] = value)),
    }),
  );
  const reset = button("Reset", () => {
    shared.strengths = {};
    sliders.forEach((control) => control.set(0));
    go();
  });
  const another = button("Another", () => {
    shared.picked = [shared.picked[0], (shared.picked[1] + 1) % shared.images.length];
    go();
  }, "main");
  panel.replaceChildren(
    ...layout(
      [make("div", { class: "two" }, before, after)],
      make("div", { class: "buttons" }, another, reset),
      ...sliders,
    ),
  );
  withSamples(page, go);
}
