/**
 * One connection to one server: when to connect and by which transport, when it is lost, how long to back off. Owns its
 * timers, and the page's lifecycle events. Does not depend on items, or on messages except `bye`.
 */

/** @typedef {import('./store.js').Message} Message */
/** @typedef {'connecting' | 'live' | 'polling' | 'reconnecting' | 'closed'} Status */

/**
 * What a transport calls with the server's messages, and with two of its own. `open`: it is ready to send. `close`,
 * perhaps with a code: it has ended, or was never opened.
 * @typedef {(message: Message) => void} Line
 */

/** @typedef {{send: (text: string) => void, close: () => void}} Transport a socket, or a replacement of one */

/**
 * @typedef {object} Owner
 * @property {() => void} _opened a new connection is ready to send; nothing was received on it yet
 * @property {(message: Message) => void} _received
 * @property {() => void} _lost the connection has ended
 * @property {(why?: string) => void} _turned the status changed; with the reason, if there is no other attempt
 */

const SECOND = 1000;
const CONNECT_TIMEOUT = 4 * SECOND;
const SILENCE = 35 * SECOND; // ms without a message; the server sends one at least every 25 s
const STEADY = 5 * SECOND; // ms after which a connection ends the backoff
const HIDDEN = 60 * SECOND;
const OURS = 4000; // the first close code of the contract
/** Close code of a transport that this page may not use, or no longer: try the next one. Never on the wire. */
export const BLOCKED = 1;
const NEVER = 4500; // the first close code after which the client must not reconnect
const SECOND_BEST = 300 * SECOND; // ms on a fallback before the WebSocket is tried again

const LONGEST = 300; // seconds: the longest pause that a server can ask for

/** The pause that a message asks for, in milliseconds, if it does. @param {Message} message @returns {any} */
export const pauseOf = ({ retry_after }) => retry_after > 0 && Math.max(1, Math.min(retry_after, LONGEST)) * SECOND;

/** @param {((line: Line) => Transport)[]} ways in order of preference @param {Owner} owner */
export const connection = (ways, owner) => {
  /** @type {Transport | undefined} */
  let transport;
  /** @type {Status} */
  let status = 'connecting';
  /** Whether it is started. @type {boolean} */
  let wanted;
  /** While the page is hidden. @type {boolean} */
  let resting;
  let way = 0;
  /** Whether the last handshake failed. @type {boolean} */
  let failed;
  let attempt = 0;
  /** 0: not open. @type {number} */
  let openedAt;
  /** Whether a message was received on this connection. @type {number} */
  let heard;
  /** Milliseconds that the server asked for. @type {number} */
  let pause;
  /** Connect timeout, idle timeout or backoff: only one can be due. @type {number} */
  let timer;
  /** Timer to try the WebSocket again. @type {number} */
  let better;
  /** Timer to suspend a hidden page. @type {number} */
  let hidden;

  /** @param {Status} next @param {string} [why] */
  const turn = (next, why) => {
    if (status !== (status = next)) owner._turned(why);
  };

  /** @param {() => void} [then] @param {number} [delay] */
  const wait = (then, delay) => {
    clearTimeout(timer);
    timer = /** @type {any} */ (then && setTimeout(then, delay));
  };

  const dial = () => {
    wait(drop, CONNECT_TIMEOUT);
    openedAt = pause = heard = 0;
    try {
      /** @type {Transport} */
      const mine = ways[way]((message) => {
        if (transport === mine) hear(message);
      });
      transport = mine;
    } catch (/** @type {any} */ problem) {
      // An invalid address (12, SyntaxError) stays invalid. The page's policy may block this transport, and not the next.
      closed(problem.code === 12 ? NEVER : BLOCKED, problem.message);
    }
  };

  /** @param {Message} message */
  const hear = (message) => {
    const { type } = message;
    if (type === 'bye' || type === 'close') pause ||= pauseOf(message);
    if (type === 'close') return closed(message.code);
    wait(drop, SILENCE);
    if (!openedAt) {
      openedAt = performance.now(); // not the date, which may be set meanwhile
      owner._opened();
    }
    // An open socket is no success yet: a refused page gets one too, which is closed with the reason.
    if (type === 'open' && !way) return;
    heard = 1;
    if (way) better ||= setTimeout(reset, SECOND_BEST, true); // one more failure, and the fallback is used again
    turn(way > 1 ? 'polling' : 'live');
    owner._received(message);
  };

  /** Abandon the transport, without waiting for a closing handshake that may never complete. */
  const drop = () => {
    if (transport) closed();
  };

  /** @param {any} [code] @param {string} [why] */
  const closed = (code, why = 'code ' + code) => {
    transport?.close(); // an EventSource would reconnect by itself
    transport = undefined;
    wait();
    owner._lost();
    if (code >= NEVER) return turn('closed', why);
    turn('reconnecting');
    if (!wanted || resting) return;
    // A close code of the contract shows that WebSockets work; the other transports use the same server.
    if (code === BLOCKED || (!heard && !(code >= OURS))) {
      // Failed twice in a row: try the next transport at once. After the last one, the server is unavailable.
      way = failed || code === BLOCKED ? ++way % ways.length : 0;
      failed = true;
      if (way) return dial();
    } else if (!way) failed = false;
    if (openedAt && performance.now() - openedAt > STEADY) attempt = 0;
    wait(dial, pause || Math.min(40, 1 + Math.random() * 2 ** attempt++) * 500);
  };

  /** Begin with the first transport again, as if its last handshake had failed, or not. @param {boolean} unlikely */
  const reset = (unlikely) => {
    drop();
    wait();
    clearTimeout(better);
    better = way = pause = 0;
    failed = unlikely;
    hurry();
  };

  /** Connect without waiting for the backoff, unless the server asked for a pause: the network may be back. */
  const hurry = () => {
    if (wanted && !resting && !transport && !pause && status !== 'closed') dial();
  };

  const rest = () => {
    resting = true;
    reset(false);
  };

  const wake = () => {
    resting = false;
    clearTimeout(hidden);
    hurry();
  };

  // A page with an open socket may be kept out of the back/forward cache.
  addEventListener('pagehide', rest);
  addEventListener('pageshow', wake);
  addEventListener('offline', drop);
  addEventListener('online', hurry);
  addEventListener('visibilitychange', () => {
    if (document.hidden) hidden = setTimeout(rest, HIDDEN);
    else wake();
  });

  return {
    _status: () => status,
    _isOpen: () => transport && openedAt,
    _send: (/** @type {Message} */ message) => transport?.send(JSON.stringify(message)),

    /** Connect, unless connected, connecting or refused. */
    _start() {
      wanted = true;
      if (!timer) hurry();
    },

    /** Disconnect, until the next start. */
    _stop() {
      wanted = false;
      reset(false);
    },
  };
};
