/** What the script's own tag says: which server and site a page means unless an element says otherwise. */

// A module has no currentScript. Other people's scripts are called embed.js too, but few of them are modules.
const script = /** @type {HTMLScriptElement | null | undefined} */ (
  document.currentScript || document.querySelector('script[type=module][src*="/embed."]')
);

// The server's address is the script's folder: a server may be below a path. Inline text and `import()` have no address
// that a script can read: this one is none either, so that the console says what is missing, and nothing is asked.
export const SERVER = script?.src.replace(/[^/]*([?#].*)?$/, '') || 'http://[no script src]';
export const SITE = script?.dataset.site || 'default';
