/**
 * The second and third transport, where WebSockets are blocked: counts by event stream or by polling every 15 s, all
 * else by HTTP requests. Owns the translation from and to the messages of a socket, so that no other module depends on
 * it. What only a socket sends (`mine` from another tab) comes with the next `watch`, or poll.
 */
import { BLOCKED } from './connection.js';
import { parse, request } from './http.js';
import { batches } from './watches.js';

const POLL = 15_000;

/**
 * @param {import('./http.js').Addresses} urlOf
 * @param {boolean} streaming
 * @param {() => string[]} initialIds the ids to watch first
 */
export const fallback = (urlOf, streaming, initialIds) => (/** @type {import('./connection.js').Emit} */ emit) => {
  const watched = new Set(initialIds());
  /** Items whose first counts are a snapshot, which replaces what is shown. @type {Set<string>} */
  let unsynced = new Set();
  /** @type {string | undefined} */
  let token;
  /** @type {EventSource | undefined} */
  let source;
  /** @type {string | undefined} */
  let address;
  /** @type {number} */
  let timer;
  /** @type {boolean} */
  let isClosed;
  /** Release the lock on the stream. @type {(done?: unknown) => void} */
  let release;
  const released = new Promise((done) => (release = done));
  let queue = Promise.resolve();

  // A proxy in front of the server may send any code: it is never a socket's.
  const onFailure = (/** @type {object} */ problem) => emit({ ...problem, type: 'close', code: 0 });

  /** @param {Iterable<string>} ids */
  const fetchCounts = async (ids) => {
    for (const part of batches(ids)) {
      const found = await request('GET', urlOf('/v1/items', part), token).catch((problem) => {
        // The bad item must not affect the others: the watch of each will tell which one it is.
        if (problem.code === 'bad_item') for (const id of part) watched.delete(id);
        throw problem;
      });
      for (const item of found.items) emit({ ...item, type: 'counts' });
    }
  };

  /** Follow the counts of what is watched now. */
  const subscribe = async () => {
    const ids = [...watched];
    try {
      if (isClosed) return;
      if (!streaming || !ids[0]) {
        await fetchCounts(ids);
        clearTimeout(timer);
        timer = setTimeout(subscribe, POLL);
        address = ''; // the next stream begins with snapshots
        emit({ type: 'open' });
      }
      // With too many items it is refused, and the next transport is used.
      else if (address !== (address = urlOf('/v1/stream', ids))) {
        source?.close();
        unsynced = new Set(ids);
        source = new EventSource(address);
        source.onopen = /** @type {any} */ (emit);
        source.onerror = onFailure;
        for (const type of ['counts', 'beat', 'bye']) {
          source.addEventListener(type, ({ data }) => {
            const message = parse(data);
            emit({ ...message, reset: unsynced.delete(message.item) || message.reset });
          });
        }
      }
    } catch (/** @type {any} */ problem) {
      if (problem.code === 'bad_item') subscribe();
      else onFailure(problem); // a policy of the page may forbid a stream, too
    }
  };

  /**
   * Handle a message. Its answer has a type only where the type of a socket's answer is read.
   * @param {any} message @returns {Promise<object | void>}
   */
  const handle = async ({ type, items = watched, item, reaction, merge, token: next = token }) => {
    if (merge) throw { code: 'forbidden' }; // needs a socket
    if (type === 'react') {
      const ack = await request(reaction ? 'PUT' : 'DELETE', urlOf('/v1/reaction', [item]), token, reaction && { reaction });
      unsynced.delete(item);
      return { ...ack, type: 'ack' };
    }
    token = next;
    for (const id of items) watched[type === 'unwatch' ? 'delete' : 'add'](id);
    if (type !== 'unwatch' && (token || !streaming)) await fetchCounts(items);
    subscribe();
  };

  // With HTTP/1.1 all tabs share six connections to a host, and requests need some of them. So the last tab has the
  // only stream, and the others poll; as do pages without locks (plain http), for which this throws.
  if (streaming) {
    navigator.locks
      .request(
        urlOf('/v1/stream'),
        { steal: true },
        () => {
          subscribe();
          return released;
        },
      )
      .catch(() => emit({ type: 'close', code: BLOCKED }));
  } else subscribe();
  return {
    /** @param {string} text */
    send(text) {
      const message = parse(text);
      const { ref, item } = message;
      queue = queue
        .then(() => handle(message))
        .catch((problem) => ({ ...problem, type: 'error', item }))
        .then((fields) => emit({ ...fields, ref }));
    },
    close() {
      isClosed = true;
      release();
      source?.close();
    },
  };
};
