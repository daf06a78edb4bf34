/**
 * The second and third way, where WebSockets do not get through: counts by event stream or by asking every 15 s, all
 * else by HTTP requests. Owns the translation: it takes and gives the messages of a socket, so that nobody above it
 * has to know. What only a socket can tell (`mine` from another tab) is told by the next `watch`, or poll.
 */
import { parse, request } from './http.js';
import { parts } from './watches.js';

const POLL = 15_000;

/**
 * @param {import('./http.js').Addresses} at
 * @param {boolean} streaming
 * @param {() => string[]} wanted the items to begin with
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
  let turn = Promise.resolve();

  const alive = () => line({ type: 'open' });

  /** @param {Iterable<string>} ids */
  const read = async (ids) => {
    for (const part of parts(ids)) {
      for (const item of (await request('GET', at('/v1/items', part), token)).items) line({ ...item, type: 'counts' });
    }
  };

  const poll = async () => {
    clearTimeout(timer);
    try {
      await read(watched);
      if (!over) timer = setTimeout(poll, POLL);
      alive();
    } catch (problem) {
      // Its code may be anything of whoever stands in front of the server: never one of a socket's.
      line({ .../** @type {object} */ (problem), type: 'close', code: 0 });
    }
  };

  const stream = () => {
    const ids = [...watched];
    if (!streaming || !ids[0]) return poll();
    // Of more than a stream may have it is refused, and the next way is gone.
    if (over || address === (address = at('/v1/stream', ids))) return;
    source?.close();
    fresh = new Set(ids);
    source = new EventSource(address);
    source.onopen = alive;
    source.onerror = () => line({ type: 'close' });
    for (const type of ['counts', 'beat', 'bye']) {
      source.addEventListener(type, ({ data }) => {
        const message = parse(data);
        line({ ...message, reset: fresh.delete(message.item) });
      });
    }
  };

  /** @type {Record<string, (message: any) => Promise<object | void>>} */
  const answers = {
    async auth(message) {
      if (message.merge) throw { code: 'forbidden' }; // a matter of sockets
      token = message.token;
      await read(watched);
      return { type: 'ready' };
    },
    async watch({ items }) {
      for (const item of items) watched.add(item);
      if (!streaming || token) await read(items);
      stream();
      return { type: 'watching' };
    },
    async unwatch({ items }) {
      for (const item of items) watched.delete(item);
      stream();
    },
    async react({ item, reaction }) {
      const answer = await request(reaction ? 'PUT' : 'DELETE', at('/v1/reaction', [item]), token, reaction && { reaction });
      fresh.delete(item);
      return { ...answer, type: 'ack' };
    },
  };

  stream();
  return {
    /** @param {import('./store.js').Message} message */
    _send(message) {
      const { type = '', ref, item } = message;
      turn = turn
        .then(() => answers[type](message))
        .then(
          (answer) => answer && line({ ...answer, ref }),
          (problem) => line({ ...problem, type: 'error', ref, item }),
        );
    },
    _stop() {
      over = true;
      clearTimeout(timer);
      source?.close();
    },
  };
};
