// Flows of the plane: samples on their density, walks, the plane bent layer by layer; and rows of numbers.

import { around, colour, edges, loaded, plane } from "/canvas.js";
import { button, make, minus, numbers, seed, select, slider } from "/controls.js";
import { figures } from "/image.js";
import { conditions, layout, percent, temperatures } from "/pictures.js";

const COUNTS = [200, 1000, 5000];
const MOST_DIMENSIONS = 64; // of rows that are typed in

function ask(page, action, request, show) {
  const conditioned = page.about.classes ? { label: page.shared.label } : {};
  page.ask(action, { ...conditioned, ...request }, show);
}

function drawn(page, show) {
  const { shared } = page;
  const request = { n: shared.n, seed: shared.seed, temperature: shared.byLevel ?? shared.temperature };
  ask(page, "draw", request, ({ points }) => {
    shared.points = points;
    show();
  });
}

/** The density's picture, which is asked for once for each class and context. */
function withDensity(page, view, then) {
  const { shared } = page;
  const key = JSON.stringify([shared.label, shared.context]);
  if (shared.density?.key === key) {
    view.square = shared.density.square;
    then();
    return;
  }
  ask(page, "density", {}, async ({ image, centre, radius }) => {
    shared.density = { key, image: await loaded(image), square: { centre, radius } };
    view.square = shared.density.square;
    view.paint();
    then();
  });
}

const paintDensity = (view, shared) => shared.density && view.picture(shared.density.image);

/** The tab that draws points, on their density in the plane. */
export function draw(page, panel) {
  const { about, shared } = page;
  const flat = about.kind === "plane";
  shared.n ??= COUNTS[1];
  shared.axes ??= [0, 1];
  const size = about.shape.reduce((a, b) => a * b, 1);
  const view = plane(flat ? "Samples on the density" : "Two numbers of each sample", () => {
    if (flat) paintDensity(view, shared);
    if (!shared.points) return;
    const points = shared.points.map((row) => shared.axes.map((i) => row[Math.min(i, size - 1)]));
    if (!flat) view.square = around(points);
    const dots = Math.max(2.5, 5 - points.length / 1000);
    view.dots(points, { size: dots, fill: flat ? "#fff" : colour("--accent"), alpha: flat ? 0.6 : 0.5 });
    if (flat && shared.row) view.letter("•", shared.row);
    const names = flat ? ["x", "y"] : shared.axes.map((i) => `number ${i + 1}`);
    caption.textContent = edges(view.square, names);
  });
  const caption = make("figcaption");
  const told = make("div", { class: "told" });

  const again = () => (flat ? withDensity(page, view, () => drawn(page, view.paint)) : drawn(page, view.paint));
  const measure = (row) =>
    ask(page, "measure", { row }, (answer) => {
      shared.row = row;
      view.paint();
      told.replaceChildren(figures(answer.figures));
    });

  const own = seed({ value: shared.seed, change: (value) => again((shared.seed = value)) });
  const others = button("Draw others", () => {
    shared.seed += 1;
    own.set(shared.seed);
    again();
  }, "main");
  const n = select({
    label: "How many",
    options: COUNTS.map((x) => [x, x.toLocaleString()]),
    value: shared.n,
    change: (value) => again((shared.n = value)),
  });
  const axes = flat
    ? []
    : [0, 1].map((axis) =>
        select({
          label: axis ? "Upwards" : "To the right",
          options: Array.from({ length: size }, (_, i) => [i, `number ${i + 1}`]),
          value: shared.axes[axis],
          change: (value) => {
            shared.axes[axis] = value;
            view.paint();
          },
        }),
      );
  const point = size <= MOST_DIMENSIONS
    ? [numbers({ label: flat ? "Density at the point x, y" : `Density of a row of ${size} numbers`, size,
        value: shared.row ?? Array(size).fill(0), change: measure })]
    : [];
  if (flat) {
    view.canvas.classList.add("aimed");
    view.canvas.addEventListener("click", (event) => {
      const row = view.from(event).map((x) => Number(x.toFixed(3)));
      point[0].querySelector("input").value = row.join(", ");
      measure(row);
    });
  }
  panel.replaceChildren(
    ...layout(
      [make("figure", {}, view.canvas, caption)],
      others, own, ...temperatures(page, again), ...conditions(page, again), n, ...axes, ...point, told,
    ),
  );
  again();
}

/** The tab that walks from one point to another. */
export function walk(page, panel) {
  const { shared } = page;
  shared.n ??= COUNTS[1];
  let path = [];
  let t = 0.5;
  const view = plane("The way between two samples on the density", () => {
    paintDensity(view, shared);
    if (!path.length) return;
    view.line(path, { stroke: "#fff", width: 5 });
    const at = path[Math.round(t * (path.length - 1))];
    view.dots([at], { size: 13, fill: "#fff", alpha: 1 });
    view.letter("A", path[0]);
    view.letter("B", path.at(-1));
    caption.textContent = minus(`${percent(t)} of the way: x = ${at[0].toFixed(2)}, y = ${at[1].toFixed(2)}`);
  });
  const caption = make("figcaption");

  const go = () =>
    ask(page, "walk", { a: shared.ends[0], b: shared.ends[1] }, ({ points }) => {
      path = points;
      view.paint();
    });
  const any = () => shared.points[Math.floor(Math.random() * shared.points.length)];
  const others = () => go((shared.ends = [any(), any()]));
  /** The first sample, and the one that is farthest from it. */
  function far() {
    const [a] = shared.points;
    const distance = (point) => Math.hypot(point[0] - a[0], point[1] - a[1]);
    go((shared.ends = [a, shared.points.reduce((b, point) => (distance(point) > distance(b) ? point : b), a)]));
  }
  view.canvas.classList.add("aimed");
  view.canvas.addEventListener("click", (event) => {
    const point = view.from(event);
    const distances = shared.ends.map((end) => Math.hypot(end[0] - point[0], end[1] - point[1]));
    shared.ends[distances[0] < distances[1] ? 0 : 1] = point;
    go();
  });
  panel.replaceChildren(
    ...layout(
      [make("figure", {}, view.canvas, caption)],
      button("Two others", () => shared.points && others(), "main"),
      slider({ label: "From A to B", min: 0, max: 1, step: 0.01, value: t, show: percent, atOnce: true,
        change: (value) => view.paint((t = value)) }),
      make("p", { class: "hint" }, "A straight line between two latents, bent by the flow. Press on the " +
        "picture to move the nearer end there."),
    ),
  );
  withDensity(page, view, () => (shared.ends ? go() : shared.points ? far() : drawn(page, far)));
}

/** The tab that bends the latent plane, layer by layer. */
export function layers(page, panel) {
  const { shared } = page;
  let found = null;
  let at = 0; // layers passed, with a fraction
  let playing = 0;
  const view = plane("The latent plane and samples, bent by the layers", () => {
    if (!found) return;
    const i = Math.min(Math.floor(at), found.names.length - 1);
    const f = at - i;
    const between = (a, b) => a.map((x, j) => [x[0] + f * (b[j][0] - x[0]), x[1] + f * (b[j][1] - x[1])]);
    const points = between(found.points[i], found.points[i + 1]);
    const [from, to] = [found.squares[i], found.squares[i + 1]];
    view.square = {
      centre: [0, 1].map((j) => from.centre[j] + f * (to.centre[j] - from.centre[j])),
      radius: from.radius + f * (to.radius - from.radius),
    };
    found.lines[i].forEach((line, j) =>
      view.line(between(line, found.lines[i + 1][j]), { stroke: colour("--grid"), width: 2 }),
    );
    view.dots(points, { size: 5, fill: (j) => found.colours[j], alpha: 0.85 });
    caption.textContent = edges(view.square);
  });
  const caption = make("figcaption");
  const where = (x) => {
    const i = Math.round(x);
    return i === 0 ? "latent" : `${i} of ${found.names.length}, ${found.names[i - 1]}`;
  };
  const control = make("div", {});
  const play = button("Play", () => (playing ? stop() : begin()), "main");

  function begin() {
    if (!found) return;
    if (at >= found.names.length) at = 0;
    play.textContent = "Stop";
    let last = performance.now();
    const step = (now) => {
      if (!play.isConnected) return;
      at = Math.min(at + (now - last) / 700, found.names.length);
      last = now;
      control.firstChild.set(at);
      view.paint();
      if (at < found.names.length) playing = requestAnimationFrame(step);
      else stop();
    };
    playing = requestAnimationFrame(step);
  }

  function stop() {
    cancelAnimationFrame(playing);
    playing = 0;
    play.textContent = "Play";
  }

  function go() {
    ask(page, "layers", { seed: shared.seed }, (answer) => {
      stop();
      found = answer;
      found.squares = found.points.map(around);
      const { centre } = found.squares[0];
      found.colours = found.points[0].map(([x, y]) => {
        const angle = (Math.atan2(y - centre[1], x - centre[0]) * 180) / Math.PI;
        return `hsl(${angle.toFixed(0)} 75% 55%)`;
      });
      at = found.names.length;
      control.replaceChildren(
        slider({ label: "Layers", min: 0, max: found.names.length, step: 0.05, value: at, show: where, atOnce: true,
          change: (value) => {
            stop();
            view.paint((at = value));
          } }),
      );
      view.paint();
      if (!matchMedia("(prefers-reduced-motion: reduce)").matches) begin();
    });
  }

  panel.replaceChildren(
    ...layout(
      [make("figure", {}, view.canvas, caption)],
      play,
      control,
      ...(page.about.classes || page.about.context ? conditions(page, go) : []),
      make("p", { class: "hint" }, "A grid over the latent plane and draws of the base, coloured by their " +
        "direction, on their way to the data."),
    ),
  );
  go();
}
