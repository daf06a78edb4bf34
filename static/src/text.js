/** Texts and numbers for people. Does not depend on where they are shown. */

/** @param {Element} element @param {string} kind */
export const labelOf = (element, kind) =>
  element.getAttribute('label-' + kind) || kind[0].toUpperCase() + kind.slice(1);

/** A number in the language of an element, full or compact. @param {Element} element @param {number} number */
export const numberIn = (element, number) => {
  const lang = /** @type {HTMLElement | null} */ (element.closest('[lang]'))?.lang;
  // Truncated, not rounded: 999,950 is not "1M" yet.
  const notation = element.getAttribute('format') === 'full' ? undefined : 'compact';
  const options = /** @type {any} */ ({ notation, roundingMode: 'trunc' });
  try {
    return number.toLocaleString(lang, options);
  } catch {
    return number.toLocaleString([], options); // not a language
  }
};

/** The default texts, some of them by the contract's error codes. @type {Record<string, string>} */
const TEXTS = /** @type {any} */ ({
  __proto__: null, // a code may be `constructor`
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
