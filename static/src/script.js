/** The defaults of all elements, from the script's own tag: server and site. */

// A module has no currentScript. Other scripts are named embed.js too, but few of them are modules.
const script = /** @type {HTMLScriptElement | null | undefined} */ (
  document.currentScript || document.querySelector('script[type=module][src*="/embed."]')
);

// The server's address is the script's folder: a server may be below a path. Inline scripts and `import()` have no
// address that a script can read: then this invalid one shows in the console what is missing.
export const SERVER = script?.src.replace(/[^/]*([?#].*)?$/, '') || 'http://[no script src]';
export const SITE = script?.dataset.site || 'default';
