/**
 * The identity of the person on one server and site. Normally an anonymous visitor's token: created at the first click
 * and never before, shared by all tabs, renewed before it expires so that waiting does not give a second vote. A
 * publisher's token takes precedence and is kept in memory only. Does not depend on sockets.
 */
import { request } from './http.js';
import { load, onChange, save } from './storage.js';

/** @typedef {{token: string, renew: number}} StoredToken `renew`: by this browser's clock, in milliseconds since 1970; 0 when rejected */
/** @typedef {string | (() => string | Promise<string>) | null} Publisher */

/** The page's own, for every server and site. @type {Publisher | undefined} */
export let publisher;

/** @param {Publisher} next */
export const publish = (next) => (publisher = next || undefined);

// Milliseconds, well before a token expires: a duration, so a browser's clock may be wrong. A token that expires earlier
// after all is renewed when the server rejects it.
const RENEW = 20 * 864e5;

/** @param {import('./http.js').Addresses} urlOf @param {string} key @param {() => void} onToken another tab has a token */
export const identity = (urlOf, key, onToken) => {
  /** @type {string | null | undefined} the publisher's last token */
  let publisherToken;
  /** @type {Promise<any>} */
  let queue = Promise.resolve();

  /** Read anew each time, because all tabs share it. @returns {StoredToken | null | undefined} */
  const stored = () => load(key);

  /** The token to present, unless the server has refused it: only the server knows what time it is. */
  const token = () => (publisher ? publisherToken : stored()?.renew !== 0 && stored()?.token);

  /** @param {string} [old] */
  const createVisitor = async (old) => {
    const { token: created } = await request('POST', urlOf('/v1/visitors'), old);
    // Two tabs may create a visitor at the same moment: the first one stored is kept.
    if (stored()?.token === old || !token()) save(key, { token: created, renew: Date.now() + RENEW });
  };

  /** @param {unknown} [create] @returns {Promise<string | false | null | undefined>} */
  const obtainToken = async (create) => {
    const current = publisher;
    if (current) {
      const next = publisherToken || (/** @type {any} */ (current).call ? await /** @type {any} */ (current)() : current);
      // Another user may have signed in meanwhile, or the user have signed out.
      return current === publisher ? (publisherToken = next) : obtainToken(create);
    }
    if (/** @type {StoredToken} */ (stored())?.renew < Date.now()) {
      try {
        await createVisitor(stored()?.token);
      } catch (problem) {
        if (/** @type {any} */ (problem).code !== 'unauthorized') throw problem;
        save(key, null); // expired long ago, or the server's secret has changed
      }
    }
    if (create && !token()) await createVisitor();
    return token();
  };

  onChange(key, () => token() && onToken());

  return {
    _token: token,

    /** The anonymous visitor was merged into a user. */
    _merged: () => save(key, null),

    /** The token of the anonymous visitor to merge into a publisher's user. */
    _mergeToken: () => publisher && stored()?.token,

    /**
     * A valid token for the same person, renewed if need be; with `create`, of a new visitor if there is none.
     * One at a time: a second call gets the token of the first.
     * @param {unknown} [create]
     */
    _ask: (create) => (queue = queue.then(() => obtainToken(create), () => obtainToken(create))),

    /** The server has rejected this token. @param {string} rejected */
    _failed(rejected) {
      publisherToken = null;
      if (stored()?.token === rejected) save(key, { token: rejected, renew: 0 });
    },

    /** The publisher has set or removed the token. */
    _reset() {
      publisherToken = null;
      queue = Promise.resolve(); // without waiting for an answer that no longer matters
    },
  };
};
