/** Which item an element stands for when nobody says, and how an id is made to fit. Must not know servers. */

const ITEM_BYTES = 256;

/**
 * The page's own: its canonical address, else origin and path, and of the query what an element's `params` name.
 * @param {Element} host
 */
export const pageItem = (host) => {
  const canonical = /** @type {HTMLLinkElement | null} */ (document.querySelector('link[rel~=canonical]:not([href=""])'));
  const pairs = location.search.slice(1).split('&');
  const query = pairs.filter((pair) => host.getAttribute('params')?.split(' ').includes(pair.split('=')[0])).sort().join('&');
  return canonical?.href || location.origin + location.pathname + (query && '?' + query);
};

/** An id that is too long becomes its digest; others are as they are, at once. @param {string} id */
export const digestOf = (id) => {
  const bytes = new TextEncoder().encode(id);
  // Without a secure context there is no digest: the server will say what is wrong with the id.
  return bytes.length > ITEM_BYTES && crypto.subtle?.digest('SHA-256', bytes).then((hash) =>
    new Uint8Array(hash).reduce((hex, byte) => hex + (256 + byte).toString(16).slice(1), 'sha256:'),
  );
};
