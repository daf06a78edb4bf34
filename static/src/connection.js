/**
 * The life of one connection to one server: when to dial and by which way, what counts as dead, how long to wait.
 * Owns every clock of it and what the page's own life means for it. Must not know items or messages, `bye` excepted.
 */

/** @typedef {import('./store.js').Message} Message */
/** @typedef {'connecting' | 'live' | 'polling' | 'reconnecting' | 'closed'} Status */

/**
 * Where a way of transport reports to: the server's messages, and two of its own. `open`: it can be sent on. `close`,
 * with a code perhaps: it is over, or never opened.
 * @typedef {(message: Message) => void} Line
 */

/** @typedef {{send: (text: string) => void, close: () => void}} Transport a socket, or what can be used as one */

/**
 * @typedef {object} Owner
 * @property {() => void} _opened a new connection can be sent on; nothing was heard on it yet
 * @property {(message: Message) => void} _received
 * @property {() => void} _lost it is gone
 * @property {(why?: string) => void} _turned the status changed; with the reason, if there will be no other attempt
 */

const SECOND = 1000;
const CONNECT_TIMEOUT = 4 * SECOND;
const SILENCE = 35 * SECOND; // the server speaks at least every 25 s
const STEADY = 5 * SECOND; // a connection that lived this long ends the backoff
const HIDDEN = 60 * SECOND;
const OURS = 4000; // from this code on, it is of the contract
/** Close code of a transport that this page may not use, or no longer: on to the next way. Never on the wire. */
export const BLOCKED = 1;
const NEVER = 4500; // from this code on, the server wants no other attempt
const SECOND_BEST = 300 * SECOND; // how long a fallback has to do before the WebSocket is tried again

const LONGEST = 300; // seconds: whatever a server asks for, it is asked again then

/** How long a message asks us to wait, in milliseconds; nothing when it does not. @param {Message} message @returns {any} */
export const pauseOf = ({ retry_after }) => retry_after > 0 && Math.max(1, Math.min(retry_after, LONGEST)) * SECOND;

/** @param {((line: Line) => Transport)[]} ways best first @param {Owner} owner */
export const connection = (ways, owner) => {
  /** @type {Transport | undefined} */
  let transport;
  /** @type {Status} */
  let status = 'connecting';
  /** By the owner. @type {boolean} */
  let wanted;
  /** Because nobody looks at the page. @type {boolean} */
  let resting;
  let way = 0;
  /** Whether the last handshake did. @type {boolean} */
  let failed;
  let attempt = 0;
  /** 0: not open. @type {number} */
  let openedAt;
  /** Whether there was a message on this connection. @type {number} */
  let heard;
  /** Milliseconds that the server asked us to stay away. @type {number} */
  let pause;
  /** Connect timeout, silence or pause before the next attempt: only one can be due. @type {number} */
  let timer;
  /** To leave a fallback. @type {number} */
  let better;
  /** To rest. @type {number} */
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
      // Only what is not an address will never be one. The page's policy may forbid this way, and not the next.
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
      openedAt = performance.now(); // the clock may be set meanwhile
      owner._opened();
    }
    // That a socket is open says little: a page that is refused gets one too, but only to be closed with the reason.
    if (type === 'open' && !way) return;
    heard = 1;
    if (way) better ||= setTimeout(reset, SECOND_BEST, true); // where one more failure decides
    turn(way > 1 ? 'polling' : 'live');
    owner._received(message);
  };

  /** Give up what there is, without waiting for a closing handshake that may never come. */
  const drop = () => {
    if (transport) closed();
  };

  /** @param {any} [code] @param {string} [why] */
  const closed = (code, why = 'code ' + code) => {
    transport?.close(); // what reported its end may yet go on by itself, as an EventSource does
    transport = undefined;
    wait();
    owner._lost();
    if (code >= NEVER) return turn('closed', why);
    turn('reconnecting');
    if (!wanted || resting) return;
    // A code of the contract's own came by a WebSocket: it does get through, and the other ways go to the same server.
    if (code === BLOCKED || (!heard && !(code >= OURS))) {
      // What fails where the one before failed too is not the way: on at once. After the last, the server is away.
      way = failed || code === BLOCKED ? ++way % ways.length : 0;
      failed = true;
      if (way) return dial();
    } else if (!way) failed = false;
    if (openedAt && performance.now() - openedAt > STEADY) attempt = 0;
    wait(dial, pause || Math.min(40, 1 + Math.random() * 2 ** attempt++) * 500);
  };

  /** Begin with the first way again, as if its last handshake had failed, or not. @param {boolean} unlikely */
  const reset = (unlikely) => {
    drop();
    wait();
    clearTimeout(better);
    better = way = pause = 0;
    failed = unlikely;
    hurry();
  };

  /** Something says that the network is back: do not sit out the wait, unless the server asked for it. */
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

    /** Connect, unless that is done, under way or pointless. */
    _start() {
      wanted = true;
      if (!timer) hurry();
    },

    /** Let go, until the next start. */
    _stop() {
      wanted = false;
      reset(false);
    },
  };
};
