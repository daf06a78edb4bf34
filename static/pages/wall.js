/**
 * The wall's own few lines: its connection in the corner, the sum of all votes shown on it, and a cell that warms up
 * when its counts change. Loaded before the widget, to hear its first event.
 */
import { showStatus } from './status.js';

const sum = document.getElementById('sum');
const votes = document.getElementById('votes');
const of = document.getElementById('of');

/** @type {Map<string, number>} the votes on each item that has been shown */
const shown = new Map();

function add({ target, detail: { item, counts } }) {
  const total = Object.values(counts).reduce((a, b) => a + b, 0);
  const before = shown.get(item);
  shown.set(item, total);
  const all = [...shown.values()].reduce((a, b) => a + b, 0);
  votes.textContent = all.toLocaleString('en');
  of.textContent = `${all === 1 ? 'vote' : 'votes'} on the ${shown.size} things seen so far`;
  sum.hidden = false;
  if (before !== undefined) warm(target.closest('li'));
}

/** Start the animation anew, also when it runs. */
function warm(cell) {
  for (const animation of cell.getAnimations()) animation.cancel();
  cell.classList.remove('touched');
  requestAnimationFrame(() => cell.classList.add('touched'));
}

showStatus(document.getElementById('link'));
document.addEventListener('tallycast:ready', add);
document.addEventListener('tallycast:change', add);
document.addEventListener('animationend', ({ target }) => target.classList.remove('touched'));
