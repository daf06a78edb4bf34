/**
 * What a browser keeps for its person. Owns the fact that localStorage may be blocked, full or spoilt by others;
 * must not know what is kept.
 */

/** What could not be kept, for as long as the page is open. @type {Record<string, any>} */
const unkept = {};

/** @param {string} key @returns {any} what is kept under `key`; null or undefined when that is nothing or not to be had */
export const load = (key) => {
  try {
    return unkept[key] || JSON.parse(localStorage[key]);
  } catch {}
};

/** @param {string} key @param {unknown} value null forgets it */
export const save = (key, value) => {
  unkept[key] = value;
  try {
    localStorage[key] = JSON.stringify(value);
    unkept[key] = 0;
  } catch {}
};

/** Call `heard` when another tab has changed `key`. @param {string} key @param {() => void} heard */
export const onChange = (key, heard) => addEventListener('storage', (event) => event.key === key && heard());
