/**
 * One server and site: all its elements on the page, over one connection. Owns which message is sent when, and which
 * items an answer concerns. Does not depend on the timers of a connection, on storage, or on the presentation.
 */
import { connection, pauseOf } from './connection.js';
import { fallback } from './fallback.js';
import { addresses } from './http.js';
import { identity, publish, publisher } from './identity.js';
import { socket } from './socket.js';
import { lose, newItem, take } from './store.js';
import { onChange } from './storage.js';
import { parts } from './watches.js';
import { drop, keep, kept } from './wishes.js';

/** @typedef {import('./store.js').Item} Item */
/** @typedef {import('./store.js').Message} Message */
/** @typedef {import('./store.js').Reaction} Reaction */
/** @typedef {import('./store.js').Watcher} Watcher */
/** @typedef {ReturnType<typeof channel>} Channel */

const HOLD = 1000; // ms in which new counts are not shown, to wait for the ack of my own reaction
const PATIENCE = 8000; // ms before an unconfirmed click is reported to the person
const LINGER = 10_000; // ms for which a page without elements keeps its connection

/** After the pause that the server asked for; 5 s without one. @param {any} problem @param {() => void} then */
const later = (problem, then) => setTimeout(then, pauseOf(problem) || 5000);

/** @param {string} server @param {string} site @param {string} key */
const channel = (server, site, key) => {
  /** By id, which may be `__proto__`. @type {any} */
  const items = { __proto__: null };
  let lastRef = 0;
  /** The token last presented on this connection. @type {string | null | undefined} */
  let presented;
  let presentation = 0; // ref of the `auth` message with it
  /** The token of the anonymous visitor that is merged by it. @type {string | undefined} */
  let merging;
  let strikes = 0; // tokens rejected in a row
  /** Why the server refuses this page for good. @type {any} */
  let refusal;

  /** @param {(item: Item) => unknown} [test] @returns {Item[]} */
  const those = (test = () => 1) => Object.values(items).filter(test);

  /** @param {string} id @returns {Item} */
  const itemOf = (id) => (items[id] ??= newItem(id));

  /** @param {Item} item */
  const isNear = (item) => [...item._elements].some((element) => element._near);

  /** @param {Item} item */
  const update = (item) => item._elements.forEach((element) => element._draw());

  // Watching

  /** Watch and unwatch. Elements come, go and move in bursts: only the result is sent. */
  const sync = async () => {
    await 0;
    const gone = those((item) => item._watched && !isNear(item));
    const come = those((item) => !item._watched && isNear(item));
    if (come[0]) link._start();
    for (const ids of idsOf(gone)) ask('unwatch', { items: ids }, []);
    for (const item of gone) item._watched = false;
    if (link._isOpen()) watch(come);
    for (const item of those((item) => !item._elements.size && !item._wish)) delete items[item._id];
    if (!those()[0]) setTimeout(() => those()[0] || link._stop(), LINGER);
  };

  /** @param {Item[]} some */
  const idsOf = (some) => parts(some.map((item) => item._id));

  /** @param {Item[]} some */
  const watch = (some) => {
    for (const ids of idsOf(some)) {
      const asked = ids.map(itemOf);
      for (const item of asked) item._watched = true;
      // JSON leaves out the entry of an item without a version.
      ask('watch', { items: ids, since: Object.fromEntries(asked.map((item) => [item._id, item._version])) }, asked);
    }
  };

  // Identity

  /** @param {string | false | null | undefined} token @param {any} [merge] */
  const auth = (token, merge = me._orphan()) => {
    if (!token || token === presented || !link._isOpen()) return;
    presented = token;
    merging = merge || undefined;
    presentation = ask('auth', { token, merge: merging }, those((item) => item._watched));
  };

  // Pending reactions

  /** Load what the tabs share: the last reaction of any of them counts. `adopting`: send what they have not sent. */
  const heed = (adopting = !link._isOpen()) => {
    if (publisher) return; // a user's reactions are not stored for the next one
    const all = kept(wishes);
    // The others were answered in another tab, while this one was offline or in the back/forward cache.
    for (const item of those((item) => adopting && !(item._id in all))) {
      item._wish = undefined;
      update(item);
    }
    for (const [id, reaction] of Object.entries(all)) {
      const item = itemOf(id);
      if (item._wish?._reaction !== reaction) item._wish = undefined;
      if (adopting) item._wish ??= { _reaction: reaction };
      update(item);
    }
  };

  /** Send the identity, if known, and the unsent reactions; for these a visitor is created if need be. */
  const speak = async () => {
    const unsent = () => those((item) => item._wish && !item._wish._ref);
    /** @type {any} */
    let problem = { code: 'unauthorized' };
    for (const item of unsent()) {
      // A user's reactions are not sent for another; those of the anonymous visitor are merged into the user's.
      if (item._wish?._whose && item._wish._whose !== publisher) end(item, { code: 'unavailable' });
    }
    auth(me._token());
    try {
      if (link._isOpen()) auth(await me._ask(!presented && unsent()[0]));
    } catch (caught) {
      problem = { code: 'unavailable', .../** @type {any} */ (caught) }; // a publisher's function may reject with any value
    }
    if (!link._isOpen()) return;
    if (presented && presented !== me._token()) {
      link._stop(); // no message ends an identity: a new connection has none
      link._start();
    } else for (const item of unsent()) presented ? send(item) : end(item, problem);
  };

  /** @param {Item} item */
  const send = (item) => {
    const wish = /** @type {import('./store.js').Wish} */ (item._wish);
    const mine = ask('react', { item: item._id, reaction: wish._reaction }, []);
    wish._ref = mine;
    wish._base ||= { ...item };
    setTimeout(() => {
      if (item._wish?._ref !== mine) return;
      item._wish._base = 0;
      update(item);
    }, HOLD);
  };

  /** The pending reaction is answered, or has to be retried. @param {Item} item @param {any} [problem] */
  const end = (item, problem) => {
    const wish = item._wish;
    // These do not undo the reaction: it is sent later.
    if (problem?.code === 'offline' || problem?.code === 'rate_limited') {
      item._wish = wish && { ...wish }; // another object, so that `_react` does not report a delay too
      again(item, problem);
    } else {
      if (wish) drop(wishes, item._id, wish._reaction);
      item._wish = undefined;
    }
    update(item);
    sync();
    for (const element of item._elements) {
      const mine = element === wish?._by; // where it was set, if that still shows the item
      if (problem) element._failed(problem, mine || refusal);
      else if (mine) element._confirmed(wish._reaction);
    }
  };

  /** @param {Item} item @param {any} problem */
  const again = (item, problem) => {
    lose(item);
    later(problem, speak);
  };

  // Requests and answers

  /** @param {string} type @param {object} fields @param {Item[]} silent without `ready` until the answer @returns {number} the ref */
  const ask = (type, fields, silent) => {
    link._send({ type, ...fields, ref: ++lastRef });
    for (const item of silent) item._silent = lastRef;
    return lastRef;
  };

  /** @param {Message} message */
  const received = (message) => {
    const { type, ref, reaction } = message;
    const isAck = type === 'ack';
    const item = items[/** @type {any} */ (message.item)];
    if (type === 'error') return failed(message);
    if (ref === presentation) {
      strikes = 0;
      if (merging) me._merged();
    }
    for (const silent of those((item) => item._silent === ref)) {
      silent._silent = 0;
      silent._reaction = null;
      update(silent);
    }
    if (item && (isAck || type === 'mine' || type === 'counts')) {
      if (isAck && item._wish?._whose !== publisher) delete message.reaction; // it belongs to another identity
      if (message.reaction !== undefined) item._silent = 0;
      const back = take(item, message);
      if (isAck && item._wish?._ref === ref) end(item);
      update(item);
      if (back && presented) watch([item]); // for my own reaction on it
    }
  };

  /** @param {any} problem a message `error` */
  const failed = (problem) => {
    const { code, ref } = problem;
    const isLate = code === 'rate_limited';
    const isAway = code === 'unavailable' || code === 'offline';
    const isUnknown = code === 'unauthorized';
    const isAuth = ref === presentation;
    const token = presented;
    if (token && (isAuth || isUnknown)) {
      presented = null;
      if (isAway || isLate) later(problem, speak);
      else if (merging) auth(token, ''); // the token may be valid without it
      else if (isUnknown) {
        me._failed(token);
        if (strikes++ < 3) speak();
      }
    }
    for (const item of those((item) => ref && item._wish?._ref === ref)) {
      const wish = /** @type {import('./store.js').Wish} */ (item._wish);
      if (isUnknown && !wish._retried) {
        wish._retried = true;
        again(item, problem);
      } else {
        // The identity was not checked, for instance in an outage: that is no reason to ask for a sign-in.
        end(item, isUnknown && me._token() ? { ...problem, code: 'unavailable' } : problem);
        // It may have been committed all the same: a watch tells.
        if (isAway && item._watched) watch([item]);
      }
    }
    const asked = those((item) => item._silent === ref);
    for (const item of asked) item._silent = 0;
    if (isAuth || isAway) return; // the watch itself stands, and its snapshots follow
    if (isLate) {
      for (const item of asked) item._watched = false;
      later(problem, sync);
    } else if (asked[1]) for (const item of asked) watch([item]); // one at a time, so that a bad item affects only itself
    else if (asked[0]) end(asked[0], problem);
  };

  const at = addresses(server, site);
  const me = identity(at, key, speak);
  const wishes = key + ':wishes';
  const wanted = () => those(isNear).map((item) => item._id);
  const link = connection(
    [socket(at), fallback(at, true, wanted), fallback(at, false, wanted)],
    {
      _received: received,
      _opened() {
        heed(true);
        speak(); // first, so that the snapshots contain my reactions
        sync();
      },
      _lost() {
        presented = null;
        for (const item of those()) {
          item._watched = false;
          lose(item);
          update(item);
        }
      },
      _turned(message) {
        refusal = message && { code: 'forbidden', message };
        if (message) console.warn(`Tallycast: ${message}, ${server}. Is ${origin} in origins of ${site}?`);
        for (const item of those()) {
          item._elements.forEach((element) => element._turned());
          if (refusal) end(item, refusal);
        }
      },
    },
  );

  onChange(wishes, heed);
  return {
    _status: link._status,
    _refresh: sync,

    _itemOf: itemOf,

    /** Report a refusal that came before the element. @param {Watcher} element */
    _greet: (element) => refusal && element._failed(refusal, true),

    /** @param {Item} item @param {Reaction} reaction @param {Watcher} by */
    _react(item, reaction, by) {
      const wish = (item._wish = { _reaction: reaction, _by: by, _whose: publisher, _base: item._wish?._base });
      const late = () => item._elements.has(by) && item._wish === wish && by._failed({ code: 'offline' }, true);
      if (!publisher) keep(wishes, item._id, reaction);
      update(item);
      if (refusal) end(item, refusal);
      speak();
      if (link._status() === 'reconnecting') late();
      else setTimeout(late, PATIENCE);
    },

    /** The publisher has set or removed the token. */
    _reset() {
      me._reset();
      speak();
    },
  };
};

/** @type {Record<string, Channel>} */
const channels = {};

/** @param {string} server @param {string} site @returns {Channel} */
export const channelTo = (server, site) => {
  const key = `tallycast:${server}:${site}`;
  return (channels[key] ??= channel(server, site, key));
};

/** @param {import('./identity.js').Publisher} token */
export const auth = (token) => {
  publish(token);
  Object.values(channels).forEach((one) => one._reset());
};
