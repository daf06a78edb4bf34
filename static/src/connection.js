/**
 * One connection to one server: when to connect and by which transport, when it is lost, how long to back off. Owns its
 * timers, and the page's lifecycle events. Does not depend on items, or on messages except `bye`.
 */

/** @typedef {import('./store.js').Message} Message */
/** @typedef {'connecting' | 'live' | 'polling' | 'reconnecting' | 'closed'} Status */

/**
 * What a transport calls with the server's messages, and with two of its own. `open`: it is ready to send. `close`,
 * perhaps with a code: it has ended, or was never opened.
 * @typedef {(message: Message) => void} Emit
 */

/** @typedef {{send: (text: string) => void, close: () => void}} Transport a socket, or a replacement of one */

/**
 * @typedef {object} Handlers
 * @property {() => void} _onOpen a new connection is ready to send; nothing was received on it yet
 * @property {(message: Message) => void} _onMessage
 * @property {() => void} _onClose the connection has ended
 * @property {(reason?: string) => void} _onStatus the status changed; with the reason, if there is no other attempt
 */

const SECOND = 1000;
const CONNECT_TIMEOUT = 4 * SECOND;
const IDLE_TIMEOUT = 35 * SECOND; // ms without a message; the server sends one at least every 25 s
const STABLE_AFTER = 5 * SECOND; // ms after which a connection ends the backoff
const SUSPEND_AFTER = 60 * SECOND;
const CONTRACT_CODES = 4000; // the first close code of the contract
/** Close code of a transport that this page may not use, or no longer: try the next one. Never on the wire. */
export const BLOCKED = 1;
const NO_RETRY = 4500; // the first close code after which the client must not reconnect
const FALLBACK_TIME = 300 * SECOND; // ms on a fallback before the WebSocket is tried again

const MAX_PAUSE = 300; // seconds: the longest pause that a server can ask for

/** The pause that a message asks for, in milliseconds, if it does. @param {Message} message @returns {any} */
export const pauseOf = ({ retry_after }) => retry_after > 0 && Math.max(1, Math.min(retry_after, MAX_PAUSE)) * SECOND;

/** @param {((emit: Emit) => Transport)[]} transports in order of preference @param {Handlers} handlers */
export const connection = (transports, handlers) => {
  /** @type {Transport | undefined} */
  let transport;
  /** @type {Status} */
  let status = 'connecting';
  /** Whether it is started. @type {boolean} */
  let started;
  /** While the page is hidden. @type {boolean} */
  let suspended;
  let index = 0;
  /** Whether the last handshake failed. @type {boolean} */
  let failed;
  let attempt = 0;
  /** 0: not open. @type {number} */
  let openedAt;
  /** Whether a message was received on this connection. @type {number} */
  let hasReceived;
  /** Milliseconds that the server asked for. @type {number} */
  let pause;
  /** Connect timeout, idle timeout or backoff: only one can be due. @type {number} */
  let timer;
  /** Timer to try the WebSocket again. @type {number} */
  let upgradeTimer;
  /** Timer to suspend a hidden page. @type {number} */
  let suspendTimer;

  /** @param {Status} next @param {string} [reason] */
  const setStatus = (next, reason) => {
    if (status !== (status = next)) handlers._onStatus(reason);
  };

  /** @param {() => void} [then] @param {number} [delay] */
  const setTimer = (then, delay) => {
    clearTimeout(timer);
    timer = /** @type {any} */ (then && setTimeout(then, delay));
  };

  const connect = () => {
    setTimer(drop, CONNECT_TIMEOUT);
    openedAt = pause = hasReceived = 0;
    try {
      /** @type {Transport} */
      const mine = transports[index]((message) => {
        if (transport === mine) onMessage(message);
      });
      transport = mine;
    } catch (/** @type {any} */ problem) {
      // An invalid address (12, SyntaxError) stays invalid. The page's policy may block this transport, and not the next.
      onClose(problem.code === 12 ? NO_RETRY : BLOCKED, problem.message);
    }
  };

  /** @param {Message} message */
  const onMessage = (message) => {
    const { type } = message;
    if (type === 'bye' || type === 'close') pause ||= pauseOf(message);
    if (type === 'close') return onClose(message.code);
    setTimer(drop, IDLE_TIMEOUT);
    if (!openedAt) {
      openedAt = performance.now(); // not the date, which may be set meanwhile
      handlers._onOpen();
    }
    // An open socket is no success yet: a refused page gets one too, which is closed with the reason.
    if (type === 'open' && !index) return;
    hasReceived = 1;
    if (index) upgradeTimer ||= setTimeout(reset, FALLBACK_TIME, true); // one more failure, and the fallback is used again
    setStatus(index > 1 ? 'polling' : 'live');
    handlers._onMessage(message);
  };

  /** Abandon the transport, without waiting for a closing handshake that may never complete. */
  const drop = () => {
    if (transport) onClose();
  };

  /** @param {any} [code] @param {string} [reason] */
  const onClose = (code, reason = 'code ' + code) => {
    transport?.close(); // an EventSource would reconnect by itself
    transport = undefined;
    setTimer();
    handlers._onClose();
    if (code >= NO_RETRY) return setStatus('closed', reason);
    setStatus('reconnecting');
    if (!started || suspended) return;
    // A close code of the contract shows that WebSockets work; the other transports use the same server.
    if (code === BLOCKED || (!hasReceived && !(code >= CONTRACT_CODES))) {
      // Failed twice in a row: try the next transport at once. After the last one, the server is unavailable.
      index = failed || code === BLOCKED ? ++index % transports.length : 0;
      failed = true;
      if (index) return connect();
    } else if (!index) failed = false;
    if (openedAt && performance.now() - openedAt > STABLE_AFTER) attempt = 0;
    setTimer(connect, pause || Math.min(40, 1 + Math.random() * 2 ** attempt++) * 500);
  };

  /** Begin with the first transport again, as if its last handshake had failed, or not. @param {boolean} afterFailure */
  const reset = (afterFailure) => {
    drop();
    setTimer();
    clearTimeout(upgradeTimer);
    upgradeTimer = index = pause = 0;
    failed = afterFailure;
    connectNow();
  };

  /** Connect without waiting for the backoff, unless the server asked for a pause: the network may be back. */
  const connectNow = () => {
    if (started && !suspended && !transport && !pause && status !== 'closed') connect();
  };

  const suspend = () => {
    suspended = true;
    reset(false);
  };

  const resume = () => {
    suspended = false;
    clearTimeout(suspendTimer);
    connectNow();
  };

  // A page with an open socket may be kept out of the back/forward cache.
  addEventListener('pagehide', suspend);
  addEventListener('pageshow', resume);
  addEventListener('offline', drop);
  addEventListener('online', connectNow);
  addEventListener('visibilitychange', () => {
    if (document.hidden) suspendTimer = setTimeout(suspend, SUSPEND_AFTER);
    else resume();
  });

  return {
    _status: () => status,
    _isOpen: () => transport && openedAt,
    _send: (/** @type {Message} */ message) => transport?.send(JSON.stringify(message)),

    /** Connect, unless connected, connecting or refused. */
    _start() {
      started = true;
      if (!timer) connectNow();
    },

    /** Disconnect, until the next start. */
    _stop() {
      started = false;
      reset(false);
    },
  };
};
