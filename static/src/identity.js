/**
 * The identity of the person on one server and site. Normally an anonymous visitor's token: created at the first click
 * and never before, shared by all tabs, renewed before it expires so that waiting does not give a second vote. A
 * publisher's token takes precedence and is kept in memory only. Does not depend on sockets.
 */
import { request } from './http.js';
import { load, onChange, save } from './storage.js';

/** @typedef {{token: string, renew: number}} Pass `renew`: by this browser's clock, in milliseconds since 1970; 0 when rejected */
/** @typedef {string | (() => string | Promise<string>) | null} Publisher */

/** The page's own, for every server and site. @type {Publisher | undefined} */
export let publisher;

/** @param {Publisher} next */
export const publish = (next) => (publisher = next || undefined);

// Milliseconds, well before a token expires: a duration, so a browser's clock may be wrong. A token that expires earlier
// after all is renewed when the server rejects it.
const RENEW = 20 * 864e5;

/** @param {import('./http.js').Addresses} at @param {string} key @param {() => void} changed another tab has a token */
export const identity = (at, key, changed) => {
  /** @type {string | null | undefined} the publisher's last token */
  let given;
  /** @type {Promise<any>} */
  let turn = Promise.resolve();

  /** Read anew each time, because all tabs share it. @returns {Pass | null | undefined} */
  const pass = () => load(key);

  /** The token to present, unless the server has refused it: only the server knows what time it is. */
  const token = () => (publisher ? given : pass()?.renew !== 0 && pass()?.token);

  /** @param {string} [old] */
  const obtain = async (old) => {
    const { token: fresh } = await request('POST', at('/v1/visitors'), old);
    // Two tabs may create a visitor at the same moment: the first one stored is kept.
    if (pass()?.token === old || !token()) save(key, { token: fresh, renew: Date.now() + RENEW });
  };

  /** @param {unknown} [anew] @returns {Promise<string | false | null | undefined>} */
  const ask = async (anew) => {
    const asked = publisher;
    if (asked) {
      const answer = given || (/** @type {any} */ (asked).call ? await /** @type {any} */ (asked)() : asked);
      // Another user may have signed in meanwhile, or the user have signed out.
      return asked === publisher ? (given = answer) : ask(anew);
    }
    if (/** @type {Pass} */ (pass())?.renew < Date.now()) {
      try {
        await obtain(pass()?.token);
      } catch (problem) {
        if (/** @type {any} */ (problem).code !== 'unauthorized') throw problem;
        save(key, null); // expired long ago, or the server's secret has changed
      }
    }
    if (anew && !token()) await obtain();
    return token();
  };

  onChange(key, () => token() && changed());

  return {
    _token: token,

    /** The anonymous visitor was merged into a user. */
    _merged: () => save(key, null),

    /** The token of the anonymous visitor to merge into a publisher's user. */
    _orphan: () => publisher && pass()?.token,

    /**
     * A valid token for the same person, renewed if need be; with `anew`, of a new visitor if there is none.
     * One at a time: a second call gets the token of the first.
     * @param {unknown} [anew]
     */
    _ask: (anew) => (turn = turn.then(() => ask(anew), () => ask(anew))),

    /** The server has rejected this token. @param {string} refused */
    _failed(refused) {
      given = null;
      if (pass()?.token === refused) save(key, { token: refused, renew: 0 });
    },

    /** The publisher has set or removed the token. */
    _reset() {
      given = null;
      turn = Promise.resolve(); // without waiting for an answer that no longer matters
    },
  };
};
