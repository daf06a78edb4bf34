/**
 * A number that moves like a mechanical counter: every wheel turns only while the ones right of it pass from 9 to 0,
 * and the last one turns all the time. Owns its own element's content. Must not know what is counted.
 *
 * It follows its target by the same share of what is missing in every span of time, so it starts at once, slows
 * down towards the end, and a target that moves meanwhile needs no new start.
 */
const PACE = 220; // ms in which what is missing shrinks to a third
const NEAR = 0.004; // wheels; less cannot be seen

const still = matchMedia('(prefers-reduced-motion: reduce)');

export class Odometer {
  #wheels = document.createElement('span');
  #exact = document.createElement('span');
  #format;
  #digits;
  #pattern = '';
  /** @type {[HTMLElement, HTMLElement][]} the two digits that can be seen of each wheel, the last wheel first */
  #shown = [];
  #value = 0;
  #target = 0;
  #frame = 0;
  #then = 0;

  /** @param {HTMLElement} element @param {string | undefined} locale */
  constructor(element, locale) {
    this.#format = new Intl.NumberFormat(locale);
    this.#digits = Array.from({ length: 10 }, (_, digit) => this.#format.format(digit));
    this.#wheels.className = 'wheels';
    this.#wheels.ariaHidden = 'true';
    this.#exact.className = 'exact'; // for screen readers, which would read every wheel
    element.replaceChildren(this.#wheels, this.#exact);
    this.#draw();
  }

  /** How many characters the widest number on the way has. */
  get width() {
    return this.#format.format(Math.max(this.#target, Math.ceil(this.#value))).length;
  }

  /** @param {number} target @param {boolean} [atOnce] */
  turn(target, atOnce = false) {
    this.#target = target;
    this.#exact.textContent = this.#format.format(target);
    if (atOnce || still.matches) this.#value = target;
    if (!this.#frame) {
      this.#then = performance.now();
      this.#frame = requestAnimationFrame((now) => this.#step(now));
    }
  }

  #step(now) {
    const rest = this.#target - this.#value;
    const passed = Math.min(Math.max(now - this.#then, 0), 100); // a tab that was away does not jump
    this.#then = now;
    this.#value = Math.abs(rest) < NEAR ? this.#target : this.#target - rest * Math.exp(-passed / PACE);
    this.#draw();
    this.#frame = this.#value === this.#target ? 0 : requestAnimationFrame((next) => this.#step(next));
  }

  #draw() {
    this.#build(this.#format.formatToParts(Math.max(Math.floor(this.#value), this.#target)));
    let carried = this.#value % 1; // how far the wheel on the right has gone towards its 0
    let rest = Math.floor(this.#value);
    for (const [upper, lower] of this.#shown) {
      const digit = rest % 10;
      rest = Math.floor(rest / 10);
      upper.textContent = this.#digits[digit];
      lower.textContent = this.#digits[(digit + 1) % 10];
      upper.style.translate = `0 ${-carried}lh`;
      lower.style.translate = `0 ${1 - carried}lh`;
      if (digit !== 9) carried = 0;
    }
  }

  /** Make the wheels and the marks between them anew when there are more or fewer. */
  #build(parts) {
    const pattern = parts.map(({ type, value }) => (type === 'integer' ? '0'.repeat(value.length) : value)).join('');
    if (pattern === this.#pattern) return;
    this.#pattern = pattern;
    this.#shown = [];
    const made = Array.from(pattern, (mark) => {
      const place = document.createElement('span');
      if (mark !== '0') {
        place.textContent = mark;
        return place;
      }
      place.className = 'wheel';
      const [upper, lower] = [document.createElement('span'), document.createElement('span')];
      place.append(upper, lower);
      this.#shown.unshift([upper, lower]);
      return place;
    });
    this.#wheels.replaceChildren(...made);
  }
}
