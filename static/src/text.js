/** Every word and number that a person reads. Must not know where they are shown. */

/** @param {Element} element @param {string} kind */
export const labelOf = (element, kind) =>
  element.getAttribute('label-' + kind) || kind[0].toUpperCase() + kind.slice(1);

/** A number as an element's language writes it, long or short. @param {Element} element @param {number} number */
export const numberIn = (element, number) => {
  const lang = /** @type {HTMLElement | null} */ (element.closest('[lang]'))?.lang;
  // 999,950 is not "1M" yet: what is left out is cut, not rounded.
  const options = /** @type {any} */ (
    element.getAttribute('format') === 'full' ? {} : { notation: 'compact', roundingMode: 'trunc' }
  );
  try {
    return number.toLocaleString(lang, options);
  } catch {
    return number.toLocaleString([], options); // not a language
  }
};

/** @type {Record<string, string>} */
const SORRY = {
  rate_limited: 'Too fast. Your vote is kept.',
  unauthorized: 'Sign in to vote.',
  forbidden: 'Not open to votes.',
};

/** @param {string} code */
export const sorryFor = (code) => SORRY[code] || 'Not saved. Try again.';

export const KEPT = 'Offline. Your vote is kept.';

/** @param {string | null} label of the vote */
export const thanksFor = (label) => `Your vote: ${label || 'none'}.`;
