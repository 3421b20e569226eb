"use strict";
// The boxes of a study's pictures: drawn, moved, resized and deleted by mouse or keyboard. Without this script the page
// still lists the boxes that were found, and takes further ones as text.

const SVG = "http://www.w3.org/2000/svg";
const LEAST = 3; // pixels of a box's side: less is a click

/** One picture with its boxes, each as [left, top, right, bottom] in pixels of the picture. */
class Picture {
  constructor(section) {
    this.name = section.dataset.picture;
    this.stage = section.querySelector(".stage");
    this.image = section.querySelector("img");
    this.list = section.querySelector(".boxes ul");
    this.said = section.querySelector(".said");
    this.tools = section.querySelector(".tools");
    this.boxes = [...this.list.querySelectorAll("input[name=box]")].map((input) =>
      input.value.split(":")[1].split(",").map(Number));
    if (this.image.complete && this.image.naturalWidth) this.begin();
    else this.image.addEventListener("load", () => this.begin(), { once: true });
    this.image.addEventListener("error", () => this.say("This picture cannot be shown."));
  }

  begin() {
    this.width = this.image.naturalWidth;
    this.height = this.image.naturalHeight;
    this.layer = document.createElement("div");
    this.layer.className = "layer";
    this.svg = document.createElementNS(SVG, "svg");
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.image.replaceWith(this.layer);
    this.layer.append(this.image, this.svg);
    this.tools.hidden = false;
    this.bindTools();
    this.svg.addEventListener("pointerdown", (event) => this.press(event));
    this.zoom(Math.min(100, Math.floor((100 * this.stage.clientWidth) / this.width) || 100));
    this.render();
  }

  bindTools() {
    const [bright, contrast, zoom] = ["bright", "contrast", "zoom"].map((name) => this.tools.querySelector(`.${name}`));
    const window = () => {
      this.image.style.filter = `brightness(${bright.value}%) contrast(${contrast.value}%)`;
    };
    bright.addEventListener("input", window);
    contrast.addEventListener("input", window);
    zoom.addEventListener("input", () => this.zoom(Number(zoom.value)));
    this.tools.querySelector(".add").addEventListener("click", () => this.add());
    this.tools.querySelector(".after").addEventListener("change", (event) =>
      this.layer.classList.toggle("blanked", event.target.checked));
  }

  zoom(percent) {
    this.tools.querySelector(".zoom").value = percent;
    this.layer.style.width = `${(this.width * percent) / 100}px`;
  }

  say(text) {
    this.said.textContent = text;
  }

  /** A new box in the middle, to be moved by the keyboard. */
  add() {
    const [width, height] = [Math.max(LEAST, this.width / 5), Math.max(LEAST, this.height / 10)].map(Math.round);
    const [left, top] = [(this.width - width) / 2, (this.height - height) / 2].map(Math.round);
    this.boxes.push([left, top, left + width, top + height]);
    this.render(this.boxes.length - 1);
    this.say("A box was added. Arrow keys move it, with Shift they resize it, Delete removes it.");
  }

  remove(at) {
    this.boxes.splice(at, 1);
    this.render(Math.min(at, this.boxes.length - 1));
    this.say("The box was removed.");
  }

  point(event) {
    const frame = this.svg.getBoundingClientRect();
    return [
      Math.max(0, Math.min(this.width, Math.round(((event.clientX - frame.left) * this.width) / frame.width))),
      Math.max(0, Math.min(this.height, Math.round(((event.clientY - frame.top) * this.height) / frame.height))),
    ];
  }

  /** Drag a box that is pressed, by its corner to resize it, or draw a new one where none is. */
  press(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    const pressed = event.target.closest("[data-at]");
    const from = this.point(event);
    const isNew = pressed === null;
    const at = isNew ? this.boxes.push([...from, ...from]) - 1 : Number(pressed.dataset.at);
    const before = [...this.boxes[at]];
    const isCorner = isNew || event.target.classList.contains("corner");
    const moved = (next) => {
      const [x, y] = this.point(next);
      this.boxes[at] = isCorner
        ? isNew ? sorted(from, [x, y]) : sorted(before.slice(0, 2), [x, y])
        : this.shifted(before, x - from[0], y - from[1]);
      this.render();
    };
    const end = () => {
      this.svg.removeEventListener("pointermove", moved);
      this.svg.removeEventListener("pointerup", end);
      this.svg.removeEventListener("pointercancel", end);
      const [left, top, right, bottom] = this.boxes[at];
      if (right - left < LEAST || bottom - top < LEAST) this.boxes.splice(at, 1);
      this.render(at < this.boxes.length ? at : undefined);
    };
    this.svg.setPointerCapture(event.pointerId);
    this.svg.addEventListener("pointermove", moved);
    this.svg.addEventListener("pointerup", end);
    this.svg.addEventListener("pointercancel", end);
  }

  shifted([left, top, right, bottom], x, y) {
    const byX = Math.max(-left, Math.min(this.width - right, x));
    const byY = Math.max(-top, Math.min(this.height - bottom, y));
    return [left + byX, top + byY, right + byX, bottom + byY];
  }

  key(event, at) {
    const step = event.ctrlKey ? 1 : 10;
    const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      this.remove(at);
    } else if (by) {
      event.preventDefault();
      const [left, top, right, bottom] = this.boxes[at];
      this.boxes[at] = event.shiftKey
        ? [
            left,
            top,
            Math.max(left + LEAST, Math.min(this.width, right + by[0])),
            Math.max(top + LEAST, Math.min(this.height, bottom + by[1])),
          ]
        : this.shifted(this.boxes[at], ...by);
      this.render(at);
    }
  }

  /** Draw the boxes over the picture and list them for the form; the one at `focused` keeps the keyboard. */
  render(focused) {
    this.svg.replaceChildren(...this.boxes.map((box, at) => this.shape(box, at)));
    this.list.replaceChildren(...this.boxes.map((box, at) => this.item(box, at)));
    if (focused !== undefined && focused >= 0) this.svg.querySelector(`[data-at="${focused}"]`).focus();
  }

  shape([left, top, right, bottom], at) {
    const group = document.createElementNS(SVG, "g");
    group.dataset.at = at;
    group.setAttribute("tabindex", "0");
    group.setAttribute("role", "button");
    group.setAttribute("aria-label", `Box ${at + 1}, ${right - left} by ${bottom - top} at ${left}, ${top}`);
    const whole = rect("box", left, top, right - left, bottom - top);
    const side = Math.max(4, Math.min(this.width, this.height) / 60);
    group.append(whole, rect("corner", right - side / 2, bottom - side / 2, side, side));
    group.addEventListener("keydown", (event) => this.key(event, at));
    return group;
  }

  item(box, at) {
    const item = document.createElement("li");
    const code = document.createElement("code");
    code.textContent = box.join(", ");
    const field = document.createElement("input");
    Object.assign(field, { type: "hidden", name: "box", value: `${this.name}:${box.join(",")}` });
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "plain", textContent: "Remove" });
    button.setAttribute("aria-label", `Remove box ${at + 1}`);
    button.addEventListener("click", () => this.remove(at));
    item.append(code, " ", button, field);
    return item;
  }
}

function rect(name, x, y, width, height) {
  const shape = document.createElementNS(SVG, "rect");
  shape.setAttribute("class", name);
  for (const [attribute, value] of Object.entries({ x, y, width, height })) shape.setAttribute(attribute, value);
  return shape;
}

function sorted([x, y], [otherX, otherY]) {
  return [Math.min(x, otherX), Math.min(y, otherY), Math.max(x, otherX), Math.max(y, otherY)];
}

document.querySelectorAll("section.picture").forEach((section) => new Picture(section));
