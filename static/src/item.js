/** The item of an element without the attribute, and the digests of long ids. Does not depend on servers. */

const ITEM_BYTES = 256;

/**
 * The page's item: its canonical address, else origin and path, with the query parameters in an element's `params`.
 * @param {Element} host
 */
export const pageItem = (host) => {
  const canonical = /** @type {HTMLLinkElement | null} */ (document.querySelector('link[rel~=canonical]:not([href=""])'));
  const pairs = location.search.slice(1).split('&');
  const query = pairs.filter((pair) => host.getAttribute('params')?.split(' ').includes(pair.split('=')[0])).sort().join('&');
  return canonical?.href || location.origin + location.pathname + (query && '?' + query);
};

/** The digest of an id that is too long, as a promise; false for others. @param {string} id */
export const digestOf = (id) => {
  const bytes = new TextEncoder().encode(id);
  // Without a secure context there is no digest: the server rejects the id.
  return bytes.length > ITEM_BYTES && crypto.subtle?.digest('SHA-256', bytes).then((hash) =>
    new Uint8Array(hash).reduce((hex, byte) => hex + (256 + byte).toString(16).slice(1), 'sha256:'),
  );
};
