/**
 * Persistent storage of the browser. Owns the handling of a localStorage that is blocked, full or corrupted. Does not
 * depend on what is stored.
 */

/** What could not be stored, for the lifetime of the page. @type {Record<string, any>} */
const unstored = {};

/** @param {string} key @returns {any} the value of `key`; null or undefined without a valid one */
export const load = (key) => {
  try {
    return unstored[key] || JSON.parse(localStorage[key]);
  } catch {}
};

/** @param {string} key @param {unknown} value null removes it */
export const save = (key, value) => {
  unstored[key] = value;
  try {
    localStorage[key] = JSON.stringify(value);
    unstored[key] = 0;
  } catch {}
};

/** Call `callback` when another tab has changed `key`. @param {string} key @param {() => void} callback */
export const onChange = (key, callback) => addEventListener('storage', (event) => event.key === key && callback());
