/**
 * What is worth watching: items of which an element is near what a person sees. Owns the observer of that and the
 * contract's limits of one message; must not know connections.
 */

const WATCH_ITEMS = 100;
const WATCH_BYTES = 2400; // a message may have 8 KiB, and an item stands in it twice: one more fits surely

/** Keeps `_near` of every element up to date. What is not displayed at all is not near either. */
export const observer = () =>
  new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of /** @type {any[]} */ (entries)) {
        target._life._near = isIntersecting;
        target._life._refresh();
      }
    },
    { rootMargin: '200px' },
  );

/** Split ids so that each part fits into one message, or one address. @param {Iterable<string>} ids */
export const parts = (ids) => {
  /** @type {string[][]} */
  const all = [];
  let part;
  for (const id of ids) {
    if (!part || part.length === WATCH_ITEMS || encodeURI(JSON.stringify(part)).length > WATCH_BYTES) all.push((part = []));
    part.push(id);
  }
  return all;
};
