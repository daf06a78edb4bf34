/** Every word and number that a person reads. Must not know where they are shown. */

/** @param {Element} element @param {string} kind */
export const labelOf = (element, kind) =>
  element.getAttribute('label-' + kind) || kind[0].toUpperCase() + kind.slice(1);

/** A number as an element's language writes it, long or short. @param {Element} element @param {number} number */
export const numberIn = (element, number) => {
  const lang = /** @type {HTMLElement | null} */ (element.closest('[lang]'))?.lang;
  // 999,950 is not "1M" yet: what is left out is cut, not rounded.
  const notation = element.getAttribute('format') === 'full' ? undefined : 'compact';
  const options = /** @type {any} */ ({ notation, roundingMode: 'trunc' });
  try {
    return number.toLocaleString(lang, options);
  } catch {
    return number.toLocaleString([], options); // not a language
  }
};

/** What is said unless a page says it otherwise; by the contract's error codes too. @type {Record<string, string>} */
const TEXTS = /** @type {any} */ ({
  __proto__: null, // a code is the server's word: `constructor` is none of these
  group: 'Reactions',
  vote: 'Your vote: *.',
  none: 'Your vote: none.',
  offline: 'Offline. Your vote is kept.',
  rate_limited: 'Too fast. Your vote is kept.',
  unauthorized: 'Sign in to vote.',
  forbidden: 'Not open to votes.',
  error: 'Not saved. Try again.', // for any other code
});

/** @param {Element} element @param {string} name @returns {string} */
export const textOf = (element, name) =>
  element.getAttribute('text-' + name) || TEXTS[name] || textOf(element, 'error');
