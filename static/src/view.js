/**
 * The visible part: the buttons with their counts, the bar, and the announcements. Owns one shadow root. Does not depend
 * on the source of counts, or on the effect of a click.
 */
import { sheet } from './styles.js';
import { labelOf, numberIn, textOf } from './text.js';

const THUMB = 'M2 7h3l3-5q2 0 1 4h4q1 0 1 1l-1 6H2zm3 0v6';

/** As attributes: not every engine has the properties that reflect them. @param {Element} element @param {any} attributes */
const set = (element, attributes) => {
  for (const name in attributes) element.setAttribute(name, attributes[name]);
};

/** @param {string} tag @param {object | null} [attributes] @param {...Node} children @returns {any} */
const make = (tag, attributes, ...children) => {
  const element = /g|th/.test(tag)
    ? document.createElementNS('http://www.w3.org/2000/svg', tag)
    : document.createElement(tag);
  set(element, attributes);
  element.append(...children);
  return element;
};

/** @param {HTMLElement} host @param {(kind: string) => void} onClick */
export const view = (host, onClick) => {
  /** @type {Record<string, (number: number | undefined, reaction: string | null) => HTMLButtonElement>} by kind */
  const controls = /** @type {any} */ ({ __proto__: null });
  const group = make('section', { role: 'group' });
  const share = make('i');
  const bar = make('div', { part: 'bar' }, share);
  const note = make('output', { role: 'status' });
  let made = 0;
  /** @type {string} */
  let drawnKinds;
  /** @type {string | null} */
  let drawnReaction;

  /** @param {string} kind */
  const createControl = (kind) => {
    // The count describes the button. It is not part of its name, which stays the same.
    const id = made++;
    const count = make('span', { part: 'count', id, 'aria-hidden': 'true' });
    const label = make('span');
    const thumb = make('svg', { viewBox: '0 0 16 16', role: 'img' }, make('path', { d: THUMB }));
    const face = /^(dis)?like$/.test(kind) ? thumb : label;
    const button = make('button', { part: kind, 'aria-describedby': id }, face, count);
    button.onclick = (/** @type {Event} */ event) => {
      event.preventDefault(); // of a link around: a vote does not leave the page
      onClick(kind);
    };
    /** @param {number | undefined} number @param {string | null} reaction */
    return (number, reaction) => {
      // The title is a tooltip: if it were a thumb's only name, WebKit would use the count as the name.
      const title = (label.textContent = labelOf(host, kind));
      set(thumb, { 'aria-label': title });
      set(button, { title, 'aria-pressed': kind === reaction });
      button.disabled = host.hasAttribute('readonly');
      // Empty, because a hidden description is read too.
      count.textContent =
        (count.hidden = kind === 'dislike' && bar.hidden) || number == null ? '' : numberIn(host, number);
      return button;
    };
  };

  const shadow = host.attachShadow({ mode: 'open' });
  shadow.append(make('div', null, group, bar), note);

  /**
   * Announce the result of the person's own vote in a live region. Counts are outside: every change would be read.
   * @param {string} [text] @param {string} [seen] the part, if visible too
   */
  const announce = (text, seen = '') => {
    set(note, { part: seen });
    note.textContent = /** @type {string} */ (text); // undefined clears it
  };

  return {
    _announce: announce,

    /** @param {import('./store.js').Counts} counts @param {string | null} reaction */
    _draw(counts, reaction) {
      const page = host.ownerDocument.defaultView;
      // None yet, or removed because the element has moved into another document.
      if (page) shadow.adoptedStyleSheets[0] ||= sheet(page);
      if (drawnReaction !== (drawnReaction = reaction)) announce(); // the announcement is out of date
      const known = /** @type {any[]} */ (counts[0] ? counts : [['like'], ['dislike']]);
      const [likes, dislikes] = known.map((pair) => pair[1]);
      set(group, { 'aria-label': textOf(host, 'group') });
      bar.hidden = host.hasAttribute('hide-dislikes');
      const buttons = known.map(([kind, count]) => (controls[kind] ??= createControl(kind))(count, reaction));
      if (drawnKinds !== (drawnKinds = '' + known.map((pair) => pair[0]))) group.replaceChildren(...buttons);
      bar.hidden ||= drawnKinds !== 'like,dislike';
      share.style.width = ((100 * likes) / (likes + dislikes) || 0) + '%';
    },
  };
};
