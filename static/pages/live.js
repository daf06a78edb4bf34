/**
 * The display: puts one readonly widget on the page, and shows its counts large. Knows the widget by its public
 * attributes, parts and events only. Loaded before it, to hear its first event.
 */
import { Odometer } from './odometer.js';
import { showStatus } from './status.js';

const DEMO = 'demo/tally-sticks';
const DEMO_TITLE = 'The stick that could not lie';

const query = new URLSearchParams(location.search);
const item = query.get('item') || DEMO;
const title = query.get('title') ?? (item === DEMO ? DEMO_TITLE : item);
const still = matchMedia('(prefers-reduced-motion: reduce)');
const percent = new Intl.NumberFormat('en', { style: 'percent' });
const whole = new Intl.NumberFormat('en');

const byId = (id) => document.getElementById(id);
const sides = byId('sides');
const bar = byId('bar');

/** One kind of reaction: its label, what came lately, and its number. */
class Side {
  #count = -1;
  #more = 0;
  #label = document.createElement('h2');
  #odometer;

  /** @param {string} kind */
  constructor(kind) {
    const side = document.createElement('section');
    side.className = 'side';
    side.dataset.kind = kind;
    this.#label.textContent = kind;
    const number = document.createElement('p');
    number.className = 'number';
    side.append(this.#label, number);
    sides.append(side);
    this.#odometer = new Odometer(number, 'en');
  }

  get width() {
    return this.#odometer.width;
  }

  /** @param {number} count */
  show(count) {
    if (this.#count >= 0 && !still.matches) {
      this.#more += count - this.#count;
      this.#announce();
    }
    this.#odometer.turn(count, this.#count < 0);
    this.#count = count;
  }

  /** Let what came rise beside the label: one after the other, however fast it comes. */
  #announce() {
    if (this.#label.childElementCount || this.#more <= 0) return;
    const mark = document.createElement('span');
    mark.className = 'more';
    mark.ariaHidden = 'true';
    mark.textContent = `+${whole.format(this.#more)}`;
    this.#more = 0;
    mark.addEventListener('animationend', () => {
      mark.remove();
      this.#announce();
    });
    this.#label.append(mark);
  }
}

/** @type {Map<string, Side>} */
const shown = new Map();

/** The kinds in the order of the site: that of the buttons. An object has keys that are numbers in theirs. */
function inOrder(counts) {
  const buttons = Array.from(widget.shadowRoot.querySelectorAll('button'), (button) => button.getAttribute('part'));
  return Object.entries(counts).sort(([a], [b]) => buttons.indexOf(a) - buttons.indexOf(b));
}

function show({ detail: { counts } }) {
  for (const [kind, count] of inOrder(counts)) {
    if (!shown.has(kind)) shown.set(kind, new Side(kind));
    shown.get(kind).show(count);
  }
  sides.style.setProperty('--sides', shown.size);
  sides.style.setProperty('--chars', Math.max(...[...shown.values()].map((side) => side.width)));
  const { like = 0, dislike = 0 } = counts;
  const votes = Object.values(counts).reduce((a, b) => a + b, 0);
  bar.classList.toggle('voted', like + dislike > 0);
  bar.style.setProperty('--share', like / (like + dislike || 1));
  // Of other reactions nobody can say what share they are of.
  const asked = votes && like + dislike === votes && Object.hasOwn(counts, 'dislike');
  const share = asked ? ` · ${percent.format(Math.floor((100 * like) / votes) / 100)} like it` : '';
  byId('share').textContent = `${whole.format(votes)} ${votes === 1 ? 'vote' : 'votes'}${share}`;
}

document.addEventListener('tallycast:ready', show);
document.addEventListener('tallycast:change', show);
document.addEventListener('tallycast:error', ({ detail }) => {
  if (detail.code === 'bad_item') byId('share').textContent = 'There is no such item';
});
showStatus(byId('link'));

byId('title').textContent = title;
document.title = `${title} · live`;
const widget = document.createElement('live-reactions');
widget.setAttribute('readonly', '');
widget.setAttribute('item', item);
if (query.has('site')) widget.setAttribute('site', query.get('site'));
byId('source').append(widget);
