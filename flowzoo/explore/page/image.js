// An image of one's own, or a sample: how the model measures it, its neighbours, its levels drawn anew.

import { button, choices, make, minus, slider } from "/controls.js";
import { empty, grid, nameOf, picture, withSamples } from "/pictures.js";

const LARGEST = 20 * 2 ** 20; // bytes of a file
const MANY = 16; // pictures of each kind

/** Figures as a list of names, numbers with units, and notes. */
export function figures(found) {
  return make(
    "dl",
    { class: "figures" },
    ...found.map(({ name, value, unit, note }) =>
      make(
        "div",
        {},
        make("dt", {}, name),
        make("dd", {}, make("b", {}, value === null ? "not finite" : minus(value.toFixed(3))), ` ${unit}`),
        ...(note ? [make("dd", { class: "note" }, note)] : []),
      ),
    ),
  );
}

/** The probability of each class as bars. */
function classes(probabilities) {
  const best = Math.max(...probabilities);
  return make(
    "div",
    { class: "bars", role: "img", "aria-label": `Likeliest class: ${probabilities.indexOf(best)}` },
    ...probabilities.map((p, i) => {
      const bar = make("span", { class: "bar" });
      bar.style.setProperty("--share", p);
      return make("div", { title: `${(100 * p).toFixed(1)} %` }, bar, make("span", {}, String(i)));
    }),
  );
}

function asUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(new Error(`${file.name} cannot be read.`));
    reader.readAsDataURL(file);
  });
}

export function image(page, panel) {
  const { about, shared } = page;
  const grey = about.shape[2] === 1;
  const levels = about.levels.length;
  const seen = make("figure", {}, empty(1, 1));
  const told = make("div", { class: "told" });
  const around = make("div", {}, empty(MANY, 8));
  const anew = make("div", {}, empty(MANY, 8));
  shared.put ??= null; // { url, name } of a file; without it the sample B
  shared.distance ??= 0.3;
  shared.anew ??= [0];
  shared.heat ??= about.temperature;
  let looked = null;

  function sampled() {
    const i = shared.picked[1];
    return { url: shared.images[i], name: nameOf(shared, i), label: shared.labels ? shared.labels[i] : null };
  }

  /** Measures a file, or else a sample, then draws what depends on it; a damaged file changes nothing. */
  function look(own = shared.put) {
    const { url, name, label } = own ?? sampled();
    page.ask("look", { image: url, invert: Boolean(own && shared.invert), label }, (answer) => {
      looked = answer;
      shared.put = own;
      const shown = [make("div", {}, picture(answer.image, about, name), make("figcaption", {}, name))];
      if (about.vae) {
        const back = answer.reconstructions[0];
        shown.push(make("div", {}, picture(back, about, "Reconstruction"), make("figcaption", {}, "Reconstruction")));
      }
      seen.className = shown.length > 1 ? "two" : "";
      seen.replaceChildren(...shown);
      const test = about.test === "–" ? [] : [make("p", { class: "hint" }, `Test data: ${minus(about.test)} on average.`)];
      told.replaceChildren(
        figures(answer.figures),
        ...test,
        ...(answer.classes ? [make("p", { class: "label" }, "Probability of each class"), classes(answer.classes)] : []),
      );
      // One after another: the worker keeps only the newest that waits.
      nextTo(() => levels > 1 && afresh());
    });
  }

  function nextTo(then = () => {}) {
    const { image, label } = looked;
    const request = { image, distance: shared.distance, n: MANY, seed: shared.seed, label };
    page.ask("neighbours", request, ({ images }) => {
      around.replaceChildren(grid(images, about, { columns: 8, names: (i) => `Neighbour ${i + 1}` }));
      then();
    });
  }

  function afresh() {
    const { image, label } = looked;
    const request = { image, levels: shared.anew, temperature: shared.heat, n: MANY, seed: shared.seed, label };
    page.ask("redraw", request, ({ images }) => {
      anew.replaceChildren(grid(images, about, { columns: 8, names: (i) => `Drawn anew ${i + 1}` }));
    });
  }

  async function put(file) {
    if (!file) return;
    if (file.size > LARGEST) {
      page.say(`${file.name} is too large: at most ${LARGEST / 2 ** 20} MiB.`);
      return;
    }
    try {
      look({ url: await asUrl(file), name: file.name, label: null });
    } catch (error) {
      page.say(error.message);
    }
  }

  const file = make("input", { type: "file", id: "file", accept: "image/*", class: "hidden" });
  file.addEventListener("change", () => put(file.files[0]).then(() => (file.value = "")));
  const drop = make("label", { for: "file", class: "drop" }, make("b", {}, "Choose an image"), " or drop one here");
  panel.ondragover = (event) => event.preventDefault();
  panel.ondrop = (event) => {
    event.preventDefault();
    put(event.dataTransfer.files[0]);
  };
  const sample = button("Take a sample", () => {
    if (!shared.put) shared.picked = [shared.picked[0], (shared.picked[1] + 1) % shared.images.length];
    look(null);
  });
  const inverted = choices({
    label: "Ink on paper",
    options: [[true, "Invert the file's greys"]],
    values: shared.invert ? [true] : [],
    change: (values) => {
      shared.invert = values.length > 0;
      if (shared.put) look();
    },
  });
  const distance = slider({
    label: "Distance",
    min: 0,
    max: 1,
    step: 0.05,
    value: shared.distance,
    change: (value) => {
      shared.distance = value;
      if (looked) nextTo();
    },
  });
  const last = levels - 1;
  const which = choices({
    label: "Levels to draw anew",
    options: about.levels.map((size, i) => [
      i,
      `${i + 1}${i === 0 ? " finest" : i === last ? " coarsest" : ""} · ${size.toLocaleString()}`,
    ]),
    values: shared.anew,
    change: (values) => {
      shared.anew = values;
      if (looked) afresh();
    },
  });
  const heat = slider({
    label: "Temperature", min: 0, max: 1.2, step: 0.05, value: shared.heat,
    change: (value) => {
      shared.heat = value;
      if (looked) afresh();
    },
  });
  panel.replaceChildren(
    make("div", { class: "stage" }, seen),
    make("div", { class: "controls" }, file, drop, make("div", { class: "buttons" }, sample), ...(grey ? [inverted] : []), told),
    make(
      "section",
      { class: "part" },
      make("h2", {}, "Neighbours"),
      make("p", { class: "hint" }, "Its latent, mixed with new ones: at 0 the image itself, at 1 new samples."),
      distance,
      around,
    ),
    ...(levels > 1
      ? [
          make(
            "section",
            { class: "part" },
            make("h2", {}, "Levels drawn anew"),
            make("p", { class: "hint" }, "What a level of the latent holds shows when it alone is drawn again."),
            which,
            heat,
            anew,
          ),
        ]
      : []),
  );
  withSamples(page, () => look());
}
