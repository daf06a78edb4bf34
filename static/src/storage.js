/**
 * Persistent storage of the browser. Owns the handling of a localStorage that is blocked, full or corrupted. Does not
 * depend on what is stored.
 */

/** What could not be stored, for the lifetime of the page. @type {Record<string, any>} */
const unkept = {};

/** @param {string} key @returns {any} the value of `key`; null or undefined without a valid one */
export const load = (key) => {
  try {
    return unkept[key] || JSON.parse(localStorage[key]);
  } catch {}
};

/** @param {string} key @param {unknown} value null removes it */
export const save = (key, value) => {
  unkept[key] = value;
  try {
    localStorage[key] = JSON.stringify(value);
    unkept[key] = 0;
  } catch {}
};

/** Call `heard` when another tab has changed `key`. @param {string} key @param {() => void} heard */
export const onChange = (key, heard) => addEventListener('storage', (event) => event.key === key && heard());
