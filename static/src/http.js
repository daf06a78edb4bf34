/**
 * Requests to the HTTP API. Owns how they fail: always with a `Problem`, the contract's `error` as a socket would
 * bring it. Must not know what is asked for.
 */

/**
 * @typedef {object} Problem
 * @property {string} code one of the contract's, or `offline` when nobody answered who knows it
 * @property {string} [message] for the developer of the page
 * @property {number} [retry_after] seconds
 */

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
  let problem = { code: 'offline', retry_after: 5 };
  try {
    const response = await fetch(url, {
      method,
      body: JSON.stringify(body),
      headers: /** @type {any} */ (token && { Authorization: 'Bearer ' + token }),
      cache: 'no-cache', // an answer may be kept for half a minute, which is not what "now" means
      signal: AbortSignal.timeout(1e4),
    });
    const answer = await response.json();
    if (response.ok) return answer;
    problem = { code: answer.code, message: answer.detail, retry_after: +(/** @type {any} */ (response.headers.get('Retry-After'))) };
  } catch {}
  throw problem;
};
