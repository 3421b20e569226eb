"use strict";
// A film on a canvas: its stored values at full depth, windowed here by a table, zoomed and moved; by mouse, finger or key.

const STEP = 1.2; // of a zoom
const stores = new Map(); // address -> Promise<Uint16Array>, of the study that is shown and of the next

/** The values of a film, asked for once. */
function valuesOf(address) {
  if (!stores.has(address)) {
    stores.set(address, fetch(address).then(async (answer) => {
      if (!answer.ok) throw Object.assign(new Error(answer.statusText), { sentence: sentenceOf(await answer.text()) });
      return new Uint16Array(await answer.arrayBuffer());
    }));
  }
  return stores.get(address);
}

/** What a page that refuses says. */
function sentenceOf(page) {
  return new DOMParser().parseFromString(page, "text/html").querySelector("[role=alert]")?.textContent;
}

class Film {
  constructor(section) {
    this.section = section;
    const data = section.dataset;
    [this.rows, this.columns, this.largest] = [data.rows, data.columns, data.largest].map(Number);
    this.inverted = data.inverted === "True";
    this.own = data.width ? [Number(data.center), Number(data.width)] : null;
    this.moving = false;
    this.canvas = document.createElement("canvas");
    this.canvas.width = this.columns;
    this.canvas.height = this.rows;
    this.state = document.createElement("p");
    this.state.className = "state";
    this.state.textContent = "The film is coming…";
    section.replaceChildren(this.canvas, this.state);
    section.tabIndex = 0;
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.image = this.context.createImageData(this.columns, this.rows);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.table = new Uint32Array(65536);
    this.pointers = new Map();
    this.ready = valuesOf(data.values).then((values) => this.begin(values), (error) => {
      this.state.textContent = error.sentence ?? "The film did not come; reload the page.";
    });
  }

  begin(values) {
    if (values.length !== this.rows * this.columns) {
      this.state.textContent = "The film came incomplete; reload the page.";
      return;
    }
    this.values = values;
    this.lungs = this.between(0.02, 0.9);
    this.all = this.between(0, 1);
    this.own ??= this.between(0.005, 0.995);
    this.fit();
    this.show(...this.own);
    this.section.dataset.shown = "yes";
    this.bind();
  }

  /** The window between two shares of the values, of which every 97th is looked at. */
  between(low, high) {
    if (!this.sorted) this.sorted = this.values.filter((_, at) => at % 97 === 0).sort();
    const at = (share) => this.sorted[Math.min(this.sorted.length - 1, Math.floor(share * this.sorted.length))];
    return [(at(low) + at(high)) / 2, Math.max(1, at(high) - at(low))];
  }

  show(center, width) {
    [this.center, this.width] = [center, Math.max(1, width)];
    if (!this.due) this.due = requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.due = 0;
    const low = this.center - this.width / 2;
    const { table, values, pixels } = this;
    for (let value = 0; value <= this.largest; value++) {
      let grey = Math.max(0, Math.min(255, ((value - low) * 255) / this.width)) | 0;
      if (this.inverted) grey = 255 - grey;
      table[value] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
    }
    for (let at = 0; at < values.length; at++) pixels[at] = table[values[at]];
    this.context.putImageData(this.image, 0, 0);
    this.drawn = (this.drawn ?? 0) + 1;
    this.say();
  }

  say() {
    this.state.textContent = `Level ${Math.round(this.center)}, window ${Math.round(this.width)}, ${Math.round(100 * this.scale)} %`;
  }

  place() {
    this.canvas.style.transform = `translate(${this.left}px, ${this.top}px) scale(${this.scale})`;
    if (this.drawn) this.say();
  }

  fit() {
    const { clientWidth, clientHeight } = this.section;
    this.scale = Math.min(clientWidth / this.columns, clientHeight / this.rows);
    this.left = (clientWidth - this.columns * this.scale) / 2;
    this.top = (clientHeight - this.rows * this.scale) / 2;
    this.place();
  }

  zoom(factor, x = this.section.clientWidth / 2, y = this.section.clientHeight / 2) {
    const scale = Math.max(0.02, Math.min(16, this.scale * factor));
    this.left = x - ((x - this.left) * scale) / this.scale;
    this.top = y - ((y - this.top) * scale) / this.scale;
    this.scale = scale;
    this.place();
  }

  move(x, y) {
    this.left += x;
    this.top += y;
    this.place();
  }

  /** Change level and window by a drag: right is a wider range of values, up a brighter picture. */
  drag(x, y) {
    const unit = this.all[1] / 1000;
    this.show(this.center + (this.inverted ? -y : y) * unit, this.width + x * unit);
  }

  bind() {
    const { section, pointers } = this;
    section.addEventListener("pointerdown", (event) => {
      section.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, [event.clientX, event.clientY]);
      section.focus({ preventScroll: true });
      event.preventDefault();
    });
    section.addEventListener("pointermove", (event) => this.follow(event));
    for (const name of ["pointerup", "pointercancel"]) section.addEventListener(name, (event) => pointers.delete(event.pointerId));
    section.addEventListener("contextmenu", (event) => event.preventDefault());
    section.addEventListener("wheel", (event) => {
      const box = section.getBoundingClientRect();
      this.zoom(event.deltaY < 0 ? STEP : 1 / STEP, event.clientX - box.left, event.clientY - box.top);
      event.preventDefault();
    }, { passive: false });
    section.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [-20, 0], ArrowRight: [20, 0], ArrowUp: [0, -20], ArrowDown: [0, 20] }[event.key];
      if (!step) return;
      if (event.shiftKey || this.moving) this.move(...step);
      else this.drag(...step);
      event.preventDefault();
    });
    new ResizeObserver(() => this.fit()).observe(section);
  }

  follow(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const [x, y] = [event.clientX - before[0], event.clientY - before[1]];
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (others.length) this.pinch(before, [event.clientX, event.clientY], others[0]);
    else if (event.shiftKey || event.buttons & 6 || this.moving) this.move(x, y);
    else this.drag(x, y);
  }

  pinch(before, now, other) {
    const length = (place) => Math.hypot(place[0] - other[0], place[1] - other[1]) || 1;
    const box = this.section.getBoundingClientRect();
    this.zoom(length(now) / length(before), other[0] - box.left, other[1] - box.top);
    this.move((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
  }

  tool(name) {
    if (name === "invert") this.inverted = !this.inverted;
    if (name in { own: 1, lungs: 1, all: 1 }) this.show(...this[name]);
    else if (name === "invert") this.show(this.center, this.width);
    else if (name === "in") this.zoom(STEP);
    else if (name === "out") this.zoom(1 / STEP);
    else if (name === "fit") this.fit();
    else if (name === "move") {
      this.moving = !this.moving;
      this.section.classList.toggle("moving", this.moving);
    }
  }
}
