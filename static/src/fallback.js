/**
 * The second and third transport, where WebSockets are blocked: counts by event stream or by polling every 15 s, all
 * else by HTTP requests. Owns the translation from and to the messages of a socket, so that no other module depends on
 * it. What only a socket sends (`mine` from another tab) comes with the next `watch`, or poll.
 */
import { BLOCKED } from './connection.js';
import { parse, request } from './http.js';
import { parts } from './watches.js';

const POLL = 15_000;

/**
 * @param {import('./http.js').Addresses} at
 * @param {boolean} streaming
 * @param {() => string[]} wanted the ids to watch first
 */
export const fallback = (at, streaming, wanted) => (/** @type {import('./connection.js').Line} */ line) => {
  const watched = new Set(wanted());
  /** Items whose first counts are a snapshot, which replaces what is shown. @type {Set<string>} */
  let fresh = new Set();
  /** @type {string | undefined} */
  let token;
  /** @type {EventSource | undefined} */
  let source;
  /** @type {string | undefined} */
  let address;
  /** @type {number} */
  let timer;
  /** @type {boolean} */
  let over;
  /** Release the lock on the stream. @type {(done?: unknown) => void} */
  let release;
  const released = new Promise((done) => (release = done));
  let turn = Promise.resolve();

  // A proxy in front of the server may send any code: it is never a socket's.
  const failed = (/** @type {object} */ problem) => line({ ...problem, type: 'close', code: 0 });

  /** @param {Iterable<string>} ids */
  const read = async (ids) => {
    for (const part of parts(ids)) {
      const found = await request('GET', at('/v1/items', part), token).catch((problem) => {
        // The bad item must not affect the others: the watch of each will tell which one it is.
        if (problem.code === 'bad_item') for (const id of part) watched.delete(id);
        throw problem;
      });
      for (const item of found.items) line({ ...item, type: 'counts' });
    }
  };

  /** Follow the counts of what is watched now. */
  const follow = async () => {
    const ids = [...watched];
    try {
      if (over) return;
      if (!streaming || !ids[0]) {
        await read(ids);
        clearTimeout(timer);
        timer = setTimeout(follow, POLL);
        address = ''; // the next stream begins with snapshots
        line({ type: 'open' });
      }
      // With too many items it is refused, and the next transport is used.
      else if (address !== (address = at('/v1/stream', ids))) {
        source?.close();
        fresh = new Set(ids);
        source = new EventSource(address);
        source.onopen = /** @type {any} */ (line);
        source.onerror = failed;
        for (const type of ['counts', 'beat', 'bye']) {
          source.addEventListener(type, ({ data }) => {
            const message = parse(data);
            line({ ...message, reset: fresh.delete(message.item) || message.reset });
          });
        }
      }
    } catch (/** @type {any} */ problem) {
      if (problem.code === 'bad_item') follow();
      else failed(problem); // a policy of the page may forbid a stream, too
    }
  };

  /**
   * Handle a message. Its answer has a type only where the type of a socket's answer is read.
   * @param {any} message @returns {Promise<object | void>}
   */
  const answer = async ({ type, items = watched, item, reaction, merge, token: next = token }) => {
    if (merge) throw { code: 'forbidden' }; // needs a socket
    if (type === 'react') {
      const ack = await request(reaction ? 'PUT' : 'DELETE', at('/v1/reaction', [item]), token, reaction && { reaction });
      fresh.delete(item);
      return { ...ack, type: 'ack' };
    }
    token = next;
    for (const id of items) watched[type === 'unwatch' ? 'delete' : 'add'](id);
    if (type !== 'unwatch' && (token || !streaming)) await read(items);
    follow();
  };

  // With HTTP/1.1 all tabs share six connections to a host, and requests need some of them. So the last tab has the
  // only stream, and the others poll; as do pages without locks (plain http), for which this throws.
  if (streaming) {
    navigator.locks
      .request(
        at('/v1/stream'),
        { steal: true },
        () => {
          follow();
          return released;
        },
      )
      .catch(() => line({ type: 'close', code: BLOCKED }));
  } else follow();
  return {
    /** @param {string} text */
    send(text) {
      const message = parse(text);
      const { ref, item } = message;
      turn = turn
        .then(() => answer(message))
        .catch((problem) => ({ ...problem, type: 'error', item }))
        .then((fields) => line({ ...fields, ref }));
    },
    close() {
      over = true;
      release();
      source?.close();
    },
  };
};
