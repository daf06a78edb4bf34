/**
 * The items to watch: those with an element in or near the viewport. Owns its observer, and the contract's limits of one
 * message. Does not depend on connections.
 */

const WATCH_ITEMS = 100;
const WATCH_BYTES = 2400; // a message has at most 8 KiB, with each item in it twice: one more fits

/** Keeps `_near` of every element up to date. An element that is not displayed is not near. */
export const observer = () =>
  new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of /** @type {any[]} */ (entries)) {
        target._controller._near = isIntersecting;
        target._controller._refresh();
      }
    },
    { rootMargin: '200px' },
  );

/** Split ids so that each part fits into one message, or one address. @param {Iterable<string>} ids */
export const batches = (ids) => {
  /** @type {string[][]} */
  const all = [];
  let batch;
  for (const id of ids) {
    if (!batch || batch.length === WATCH_ITEMS || encodeURI(JSON.stringify(batch)).length > WATCH_BYTES) all.push((batch = []));
    batch.push(id);
  }
  return all;
};
