/** What the script's own tag says: which server and site a page means unless an element says otherwise. */

export const page = globalThis.document;
// A module has no currentScript. Other people's scripts are called embed.js too, but few of them are modules.
const script = /** @type {HTMLScriptElement | null | undefined} */ (
  page?.currentScript || page?.querySelector('script[type=module][src*="/embed."]')
);

// The server's address is the script's folder: a server may be below a path.
export const SERVER = page && (script?.src.replace(/\/[^/?#]*([?#].*)?$/, '') || location.origin);
export const SITE = script?.dataset.site || 'default';
