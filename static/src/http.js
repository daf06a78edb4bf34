/**
 * Addresses of a server, and requests to its HTTP API. Owns how they fail: always with a `Problem`, like the `error`
 * message of a socket. Does not depend on the content of requests.
 */

/** @typedef {(path: string, items?: string[]) => string} Addresses of one site on one server */

/** @param {string} server @param {string} site @returns {Addresses} */
export const addresses = (server, site) => (path, items = []) =>
  server + path + '?site=' + [site, ...items].map(encodeURIComponent).join('&item=');

/**
 * @typedef {object} Problem
 * @property {string} code one of the contract's, or `offline` without an answer of the server
 * @property {string} [message] for the developer of the page
 * @property {number} [retry_after] seconds
 */

/**
 * A message of the server. JSON.parse would move keys that are numbers to the front, in their own order; a line break
 * before them, which no reaction's name can contain, keeps the order of the text. See `applyUpdate`.
 * @param {string} text
 */
export const parse = (text) => JSON.parse(text.replace(/"(?=\d+":)/g, '$&\\n'));

/**
 * @param {string} method
 * @param {string} url
 * @param {string} [token]
 * @param {object} [body]
 * @returns {Promise<any>} the answer
 * @throws {Problem}
 */
export const request = async (method, url, token, body) => {
  /** @type {any} */
  const problem = { code: 'offline' };
  try {
    const response = await fetch(url, {
      method,
      body: JSON.stringify(body),
      headers: /** @type {any} */ (token && { Authorization: 'Bearer ' + token }),
      cache: 'no-cache', // counts may be cached for half a minute
      signal: AbortSignal.timeout(1e4),
    });
    problem.retry_after = +(/** @type {any} */ (response.headers.get('Retry-After'))); // also of a proxy, which sends no JSON
    const answer = parse(await response.text());
    if (response.ok) return answer;
    problem.code = answer.code;
    problem.message = answer.detail;
  } catch {}
  throw problem;
};
