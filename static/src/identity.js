/**
 * Who the person is on one server and site. Normally an anonymous pass: asked for at the first click and never
 * before, shared by all tabs, renewed before it ends so that nobody gets a second vote by waiting. A publisher's
 * token, once handed over, takes precedence and is kept in memory only. Must not know sockets.
 */
import { request } from './http.js';
import { load, onChange, save } from './storage.js';

/** @typedef {{token: string, renew: number}} Pass `renew`: by this browser's clock, in milliseconds since 1970; 0 when refused */
/** @typedef {string | (() => string | Promise<string>) | null} Publisher */

/** The page's own, for every server and site. @type {Publisher | undefined} */
export let publisher;

/** @param {Publisher} next */
export const publish = (next) => (publisher = next || undefined);

// Milliseconds: well before the server ends a pass. That is a span of time by this browser's clock, whatever time it shows; one
// that ends earlier after all is renewed when the server says so.
const RENEW = 20 * 864e5;

/** @param {import('./http.js').Addresses} at @param {string} key @param {() => void} changed another tab has a token */
export const identity = (at, key, changed) => {
  /** @type {string | null | undefined} what the publisher last gave */
  let given;
  /** @type {Promise<any>} */
  let turn = Promise.resolve();

  /** Looked at anew each time, because all tabs share it. @returns {Pass | null | undefined} */
  const pass = () => load(key);

  /** The token to present, unless the server has refused it: only the server knows what time it is. */
  const token = () => (publisher ? given : pass()?.renew !== 0 && pass()?.token);

  /** @param {string} [old] */
  const obtain = async (old) => {
    const { token: fresh } = await request('POST', at('/v1/visitors'), old);
    // Two tabs may make a visitor in the same moment: the first one written is the person.
    if (pass()?.token === old || !token()) save(key, { token: fresh, renew: Date.now() + RENEW });
  };

  /** @param {unknown} [anew] @returns {Promise<string | false | null | undefined>} */
  const ask = async (anew) => {
    const asked = publisher;
    if (asked) {
      const answer = given || (/** @type {any} */ (asked).call ? await /** @type {any} */ (asked)() : asked);
      // Somebody else may have signed in while it was on its way, or nobody be left who had.
      return asked === publisher ? (given = answer) : ask(anew);
    }
    if (/** @type {Pass} */ (pass())?.renew < Date.now()) {
      try {
        await obtain(pass()?.token);
      } catch (problem) {
        if (/** @type {any} */ (problem).code !== 'unauthorized') throw problem;
        save(key, null); // too old, or from before the server's secret changed
      }
    }
    if (anew && !token()) await obtain();
    return token();
  };

  onChange(key, () => token() && changed());

  return {
    _token: token,

    /** That visitor's votes have gone over to a user, and the visitor with them. */
    _merged: () => save(key, null),

    /** The token of the anonymous visitor whose votes a publisher's user is to take over. */
    _orphan: () => publisher && pass()?.token,

    /**
     * A good token for the same person, renewed or asked for; with `anew`, for a visitor made now if there is none.
     * One at a time: who comes second finds what the first one got.
     * @param {unknown} [anew]
     */
    _ask: (anew) => (turn = turn.then(() => ask(anew), () => ask(anew))),

    /** The server does not accept this token. @param {string} refused */
    _failed(refused) {
      given = null;
      if (pass()?.token === refused) save(key, { token: refused, renew: 0 });
    },

    /** Whoever spoke for the person, somebody else does now, or nobody. */
    _reset() {
      given = null;
      turn = Promise.resolve(); // nobody waits for an answer that no longer matters
    },
  };
};
