/** Every word and number that a person reads. Must not know where they are shown. */

/** @param {Element} element @param {string} kind */
export const labelOf = (element, kind) =>
  element.getAttribute('label-' + kind) || kind[0].toUpperCase() + kind.slice(1);

/** @type {Record<string, Intl.NumberFormat>} */
const formats = {};

/** How an element writes numbers: as its language does, long or short. @param {Element} element */
export const formatOf = (element) => {
  const { lang } = /** @type {HTMLElement} */ (element.closest('[lang]') || document.body);
  const style = element.getAttribute('format');
  // 999,950 is not "1M" yet: what is left out is cut, not rounded.
  const options = /** @type {any} */ (style === 'full' ? {} : { notation: 'compact', roundingMode: 'trunc' });
  try {
    return (formats[lang + style] ??= new Intl.NumberFormat(lang, options));
  } catch {
    return (formats[lang + style] = new Intl.NumberFormat(undefined, options)); // not a language
  }
};

/** @type {Record<string, string>} */
const SORRY = {
  rate_limited: 'Too fast. Please try again.',
  unauthorized: 'Please sign in to vote.',
  forbidden: 'Voting is not possible here.',
};

/** @param {string} code */
export const sorryFor = (code) => SORRY[code] || 'Not saved. Please try again.';

export const KEPT = 'Offline. Your vote is kept.';

/** @param {string | null} label of the vote */
export const thanksFor = (label) => `Your vote: ${label || 'none'}.`;
