/**
 * One server and site: all its elements on the page, over one connection. Owns which message is sent when, and which
 * items an answer concerns. Does not depend on the timers of a connection, on storage, or on the presentation.
 */
import { connection, pauseOf } from './connection.js';
import { fallback } from './fallback.js';
import { addresses } from './http.js';
import { identity, publish, publisher } from './identity.js';
import { socket } from './socket.js';
import { applyUpdate, markUnsent, newItem } from './store.js';
import { onChange } from './storage.js';
import { batches } from './watches.js';
import { dropPending, loadPending, savePending } from './pending.js';

/** @typedef {import('./store.js').Item} Item */
/** @typedef {import('./store.js').Message} Message */
/** @typedef {import('./store.js').Reaction} Reaction */
/** @typedef {import('./store.js').Watcher} Watcher */
/** @typedef {ReturnType<typeof channel>} Channel */

const ACK_WAIT = 1000; // ms in which new counts are not shown, to wait for the ack of my own reaction
const REPORT_AFTER = 8000; // ms before an unconfirmed click is reported to the person
const LINGER = 10_000; // ms for which a page without elements keeps its connection

/** After the pause that the server asked for; 5 s without one. @param {any} problem @param {() => void} then */
const afterPause = (problem, then) => setTimeout(then, pauseOf(problem) || 5000);

/** @param {string} server @param {string} site @param {string} key */
const channel = (server, site, key) => {
  /** By id, which may be `__proto__`. @type {any} */
  const items = { __proto__: null };
  let lastRef = 0;
  /** The token last presented on this connection. @type {string | null | undefined} */
  let presented;
  let authRef = 0; // ref of the `auth` message with it
  /** The token of the anonymous visitor that is merged by it. @type {string | undefined} */
  let mergeToken;
  let rejections = 0; // tokens rejected in a row
  /** Why the server refuses this page for good. @type {any} */
  let refusal;

  /** @param {(item: Item) => unknown} [test] @returns {Item[]} */
  const select = (test = () => 1) => Object.values(items).filter(test);

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
    const removed = select((item) => item._watched && !isNear(item));
    const added = select((item) => !item._watched && isNear(item));
    if (added[0]) link._start();
    for (const ids of idsOf(removed)) sendRequest('unwatch', { items: ids }, []);
    for (const item of removed) item._watched = false;
    if (link._isOpen()) watch(added);
    for (const item of select((item) => !item._elements.size && !item._pending)) delete items[item._id];
    if (!select()[0]) setTimeout(() => select()[0] || link._stop(), LINGER);
  };

  /** @param {Item[]} some */
  const idsOf = (some) => batches(some.map((item) => item._id));

  /** @param {Item[]} some */
  const watch = (some) => {
    for (const ids of idsOf(some)) {
      const requested = ids.map(itemOf);
      for (const item of requested) item._watched = true;
      // JSON leaves out the entry of an item without a version.
      sendRequest('watch', { items: ids, since: Object.fromEntries(requested.map((item) => [item._id, item._version])) }, requested);
    }
  };

  // Identity

  /** @param {string | false | null | undefined} token @param {any} [merge] */
  const auth = (token, merge = visitor._mergeToken()) => {
    if (!token || token === presented || !link._isOpen()) return;
    presented = token;
    mergeToken = merge || undefined;
    authRef = sendRequest('auth', { token, merge: mergeToken }, select((item) => item._watched));
  };

  // Pending reactions

  /** Load what the tabs share: the last reaction of any of them counts. `adopting`: send what they have not sent. */
  const adoptStored = (adopting = !link._isOpen()) => {
    if (publisher) return; // a user's reactions are not stored for the next one
    const all = loadPending(storageKey);
    // The others were answered in another tab, while this one was offline or in the back/forward cache.
    for (const item of select((item) => adopting && !(item._id in all))) {
      item._pending = undefined;
      update(item);
    }
    for (const [id, reaction] of Object.entries(all)) {
      const item = itemOf(id);
      if (item._pending?._reaction !== reaction) item._pending = undefined;
      if (adopting) item._pending ??= { _reaction: reaction };
      update(item);
    }
  };

  /** Send the identity, if known, and the unsent reactions; for these a visitor is created if need be. */
  const flush = async () => {
    const unsent = () => select((item) => item._pending && !item._pending._ref);
    /** @type {any} */
    let problem = { code: 'unauthorized' };
    for (const item of unsent()) {
      // A user's reactions are not sent for another; those of the anonymous visitor are merged into the user's.
      if (item._pending?._publisher && item._pending._publisher !== publisher) settle(item, { code: 'unavailable' });
    }
    auth(visitor._token());
    try {
      if (link._isOpen()) auth(await visitor._ask(!presented && unsent()[0]));
    } catch (error) {
      problem = { code: 'unavailable', .../** @type {any} */ (error) }; // a publisher's function may reject with any value
    }
    if (!link._isOpen()) return;
    if (presented && presented !== visitor._token()) {
      link._stop(); // no message ends an identity: a new connection has none
      link._start();
    } else for (const item of unsent()) presented ? send(item) : settle(item, problem);
  };

  /** @param {Item} item */
  const send = (item) => {
    const pending = /** @type {import('./store.js').PendingReaction} */ (item._pending);
    const mine = sendRequest('react', { item: item._id, reaction: pending._reaction }, []);
    pending._ref = mine;
    pending._base ||= { ...item };
    setTimeout(() => {
      if (item._pending?._ref !== mine) return;
      item._pending._base = 0;
      update(item);
    }, ACK_WAIT);
  };

  /** The pending reaction is answered, or has to be retried. @param {Item} item @param {any} [problem] */
  const settle = (item, problem) => {
    const pending = item._pending;
    // These do not undo the reaction: it is sent later.
    if (problem?.code === 'offline' || problem?.code === 'rate_limited') {
      item._pending = pending && { ...pending }; // another object, so that `_react` does not report a delay too
      retry(item, problem);
    } else {
      if (pending) dropPending(storageKey, item._id, pending._reaction);
      item._pending = undefined;
    }
    update(item);
    sync();
    for (const element of item._elements) {
      const mine = element === pending?._source; // where it was set, if that still shows the item
      if (problem) element._failed(problem, mine || refusal);
      else if (mine) element._confirmed(pending._reaction);
    }
  };

  /** @param {Item} item @param {any} problem */
  const retry = (item, problem) => {
    markUnsent(item);
    afterPause(problem, flush);
  };

  // Requests and answers

  /** @param {string} type @param {object} fields @param {Item[]} unanswered without `ready` until the answer @returns {number} the ref */
  const sendRequest = (type, fields, unanswered) => {
    link._send({ type, ...fields, ref: ++lastRef });
    for (const item of unanswered) item._answerRef = lastRef;
    return lastRef;
  };

  /** @param {Message} message */
  const onMessage = (message) => {
    const { type, ref, reaction } = message;
    const isAck = type === 'ack';
    const item = items[/** @type {any} */ (message.item)];
    if (type === 'error') return onError(message);
    if (ref === authRef) {
      rejections = 0;
      if (mergeToken) visitor._merged();
    }
    for (const unanswered of select((item) => item._answerRef === ref)) {
      unanswered._answerRef = 0;
      unanswered._reaction = null;
      update(unanswered);
    }
    if (item && (isAck || type === 'mine' || type === 'counts')) {
      if (isAck && item._pending?._publisher !== publisher) delete message.reaction; // it belongs to another identity
      if (message.reaction !== undefined) item._answerRef = 0;
      const wentBack = applyUpdate(item, message);
      if (isAck && item._pending?._ref === ref) settle(item);
      update(item);
      if (wentBack && presented) watch([item]); // for my own reaction on it
    }
  };

  /** @param {any} problem a message `error` */
  const onError = (problem) => {
    const { code, ref } = problem;
    const isRateLimited = code === 'rate_limited';
    const isUnavailable = code === 'unavailable' || code === 'offline';
    const isUnauthorized = code === 'unauthorized';
    const isAuth = ref === authRef;
    const token = presented;
    if (token && (isAuth || isUnauthorized)) {
      presented = null;
      if (isUnavailable || isRateLimited) afterPause(problem, flush);
      else if (mergeToken) auth(token, ''); // the token may be valid without it
      else if (isUnauthorized) {
        visitor._failed(token);
        if (rejections++ < 3) flush();
      }
    }
    for (const item of select((item) => ref && item._pending?._ref === ref)) {
      const pending = /** @type {import('./store.js').PendingReaction} */ (item._pending);
      if (isUnauthorized && !pending._retried) {
        pending._retried = true;
        retry(item, problem);
      } else {
        // The identity was not checked, for instance in an outage: that is no reason to ask for a sign-in.
        settle(item, isUnauthorized && visitor._token() ? { ...problem, code: 'unavailable' } : problem);
        // It may have been committed all the same: a watch tells.
        if (isUnavailable && item._watched) watch([item]);
      }
    }
    const requested = select((item) => item._answerRef === ref);
    for (const item of requested) item._answerRef = 0;
    if (isAuth || isUnavailable) return; // the watch itself stands, and its snapshots follow
    if (isRateLimited) {
      for (const item of requested) item._watched = false;
      afterPause(problem, sync);
    } else if (requested[1]) for (const item of requested) watch([item]); // one at a time, so that a bad item affects only itself
    else if (requested[0]) settle(requested[0], problem);
  };

  const urlOf = addresses(server, site);
  const visitor = identity(urlOf, key, flush);
  const storageKey = key + ':wishes';
  const visibleIds = () => select(isNear).map((item) => item._id);
  const link = connection(
    [socket(urlOf), fallback(urlOf, true, visibleIds), fallback(urlOf, false, visibleIds)],
    {
      _onMessage: onMessage,
      _onOpen() {
        adoptStored(true);
        flush(); // first, so that the snapshots contain my reactions
        sync();
      },
      _onClose() {
        presented = null;
        for (const item of select()) {
          item._watched = false;
          markUnsent(item);
          update(item);
        }
      },
      _onStatus(message) {
        refusal = message && { code: 'forbidden', message };
        if (message) console.warn(`Tallycast: ${message}, ${server}. Is ${origin} in origins of ${site}?`);
        for (const item of select()) {
          item._elements.forEach((element) => element._onStatus());
          if (refusal) settle(item, refusal);
        }
      },
    },
  );

  onChange(storageKey, adoptStored);
  return {
    _status: link._status,
    _refresh: sync,

    _itemOf: itemOf,

    /** Report a refusal that came before the element. @param {Watcher} element */
    _reportRefusal: (element) => refusal && element._failed(refusal, true),

    /** @param {Item} item @param {Reaction} reaction @param {Watcher} source */
    _react(item, reaction, source) {
      const pending = (item._pending = { _reaction: reaction, _source: source, _publisher: publisher, _base: item._pending?._base });
      const report = () => item._elements.has(source) && item._pending === pending && source._failed({ code: 'offline' }, true);
      if (!publisher) savePending(storageKey, item._id, reaction);
      update(item);
      if (refusal) settle(item, refusal);
      flush();
      if (link._status() === 'reconnecting') report();
      else setTimeout(report, REPORT_AFTER);
    },

    /** The publisher has set or removed the token. */
    _reset() {
      visitor._reset();
      flush();
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
