// A square canvas with the plane's coordinates.

import { make, minus } from "/controls.js";

const SIDE = 640; // of the canvas in its own units; style scales it

/** The value of a colour of the style sheet, as it is in light or dark. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/**
 * A canvas over a square { centre: [x, y], radius }. `paint(view)` is called by `view.paint()`, whenever
 * the size or the system's setting of light and dark changes.
 */
export function plane(label, paint) {
  const canvas = make("canvas", { role: "img", "aria-label": label, width: 2 * SIDE, height: 2 * SIDE });
  const pen = canvas.getContext("2d");
  const view = {
    canvas,
    pen,
    square: { centre: [0, 0], radius: 1 },
    // From the plane to the canvas, and back.
    to([x, y]) {
      const { centre, radius } = view.square;
      return [(1 + (x - centre[0]) / radius) * SIDE, (1 - (y - centre[1]) / radius) * SIDE];
    },
    from(event) {
      const box = canvas.getBoundingClientRect();
      const { centre, radius } = view.square;
      return [
        centre[0] + radius * ((2 * (event.clientX - box.left)) / box.width - 1),
        centre[1] - radius * ((2 * (event.clientY - box.top)) / box.height - 1),
      ];
    },
    paint() {
      pen.clearRect(0, 0, 2 * SIDE, 2 * SIDE);
      paint(view);
    },
    picture(image) {
      pen.drawImage(image, 0, 0, 2 * SIDE, 2 * SIDE);
    },
    dots(points, { size = 3, fill, alpha = 0.75 }) {
      pen.globalAlpha = alpha;
      points.forEach((point, i) => {
        const [x, y] = view.to(point);
        pen.fillStyle = typeof fill === "function" ? fill(i) : fill;
        pen.beginPath();
        pen.arc(x, y, size, 0, 2 * Math.PI);
        pen.fill();
      });
      pen.globalAlpha = 1;
    },
    line(points, { stroke, width = 2 }) {
      pen.strokeStyle = stroke;
      pen.lineWidth = width;
      pen.lineJoin = "round";
      pen.beginPath();
      points.forEach((point, i) => pen[i ? "lineTo" : "moveTo"](...view.to(point)));
      pen.stroke();
    },
    letter(text, point) {
      const [x, y] = view.to(point);
      pen.beginPath();
      pen.arc(x, y, 22, 0, 2 * Math.PI);
      pen.fillStyle = colour("--accent");
      pen.fill();
      pen.font = "bold 26px system-ui, sans-serif";
      pen.textAlign = "center";
      pen.textBaseline = "middle";
      pen.fillStyle = colour("--on-accent");
      pen.fillText(text, x, y + 1);
    },
  };
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => canvas.isConnected && view.paint());
  return view;
}

/** A loaded image of an address. */
export async function loaded(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

/** The least square that holds points, with a margin. */
export function around(points) {
  const of = (i) => points.map((point) => point[i]);
  const [low, high] = [Math.min, Math.max].map((end) => [0, 1].map((i) => of(i).reduce((a, b) => end(a, b))));
  const radius = 0.55 * Math.max(high[0] - low[0], high[1] - low[1], 1e-6);
  return { centre: [0, 1].map((i) => (low[i] + high[i]) / 2), radius };
}

/** The square's edges in words. */
export function edges({ centre, radius }, names = ["x", "y"]) {
  const end = (i, way) => minus((centre[i] + way * radius).toPrecision(3));
  const side = (i) => `${names[i]} from ${end(i, -1)} to ${end(i, 1)}`;
  return `${side(0)}, ${side(1)}`;
}
