/**
 * Tallycast's widget: the one script that a page loads.
 *
 *   <script src="https://tally.example/embed.js" data-site="blog" async></script>
 *   <live-reactions item="posts/42"></live-reactions>
 *
 * Owns the custom element `<live-reactions>` and everything behind it. Must not know how a server stores or
 * counts (the contract with it is docs/protocol.md), nor anything about the page around its elements: it writes
 * inside its own shadow roots only, and its single global is `window.tallycast`.
 *
 * The parts, in reading order. Each uses only those above it:
 *
 *   Tally     one item: what the server said, and what the person wishes. No I/O and no clock.
 *   Visitor   who the person is: a token, made at the first click and kept in localStorage.
 *   Link      the life of one WebSocket: connect, silence, backoff, close codes. Knows no item.
 *   Channel   one server and site: joins the three above for any number of elements.
 *   element   draws a tally, and turns clicks into wishes.
 *
 * Written without a bundler, as one classic script, so that it can be served as it stands.
 */
(() => {
  'use strict';
  if (customElements.get('live-reactions')) return; // the script is on this page twice

  /** @typedef {Record<string, number>} Counts one number for each reaction that the site has configured */
  /** @typedef {string | null} Reaction what a person holds or wishes; null for nothing */
  /** @typedef {'connecting' | 'live' | 'reconnecting' | 'closed'} Status */
  /** @typedef {{type: string, ref?: number, item?: string, version?: number, [field: string]: any}} Message */

  const SECOND = 1000;
  const CONNECT_TIMEOUT = 4 * SECOND;
  const SILENCE = 35 * SECOND; // the server speaks at least every 25 s
  const STEADY = 5 * SECOND; // a connection that lived this long ends the backoff
  const HOLD = 1 * SECOND; // how long counts wait for the ack of my own reaction
  const LINGER = 10 * SECOND; // a page without elements keeps its connection this long
  const ITEM_BYTES = 256;
  const WATCH_ITEMS = 100;
  const WATCH_BYTES = 7000; // a message may have 8 KiB

  const utf8 = new TextEncoder();

  // The script's own tag says which server and site a page means by default. A module has no currentScript.
  const script = /** @type {HTMLScriptElement | null} */ (
    document.currentScript || document.querySelector('script[src*="/embed.js"]')
  );
  const DEFAULT_SERVER = script?.src ? new URL(script.src).origin : location.origin;
  const DEFAULT_SITE = script?.dataset.site || 'default';

  /** An error with one of the contract's codes, or `offline` when no answer came at all. */
  class Problem extends Error {
    /** @param {string} code @param {string} [message] @param {number} [retryAfter] seconds */
    constructor(code, message = '', retryAfter = undefined) {
      super(message || code);
      this.code = code;
      this.retryAfter = retryAfter;
    }
  }

  // ── Tally ─────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * One item. What is shown is always the server's counts plus my unconfirmed change, computed afresh; nothing
   * is ever read back from the page.
   *
   * From the moment a wish is on its way until its ack, the server's counts may or may not contain it already,
   * and nothing in them tells. So they wait, and the ack, which says both at once, lets them in. A slow ack does
   * not stop the clock for long: Channel thaws after HOLD.
   */
  class Tally {
    /** @type {Counts | null} null until the first snapshot */
    #counts = null;
    #version = -1;
    /** @type {Reaction} my confirmed reaction */
    #held = null;
    #heldVersion = -1;
    /** @type {{reaction: Reaction, ref: number, retried: boolean} | null} ref 0: not on its way */
    wish = null;
    #frozen = false;
    /** @type {Message[]} what arrived while frozen */
    #later = [];
    /** @type {Message | null} a `mine` that came too old: right after all if a reset follows it */
    #outdated = null;

    /** The version of what is shown, for `since`; undefined before the first snapshot. */
    get version() {
      return this.#counts ? this.#version : undefined;
    }

    get reaction() {
      return this.wish ? this.wish.reaction : this.#held;
    }

    /** @returns {Counts | null} */
    get counts() {
      if (!this.#counts || !this.wish) return this.#counts;
      const counts = { ...this.#counts };
      const { reaction } = this.wish;
      if (this.#held !== reaction) {
        if (this.#held && counts[this.#held] > 0) counts[this.#held] -= 1;
        if (reaction) counts[reaction] = (counts[reaction] ?? 0) + 1;
      }
      return counts;
    }

    /** @param {Reaction} reaction a state, never a flip: sending it twice does no harm */
    want(reaction) {
      this.wish = { reaction, ref: 0, retried: false };
    }

    /** @param {number} ref */
    sent(ref) {
      if (this.wish) this.wish.ref = ref;
      this.#frozen = true;
    }

    /** The connection is gone: whether a wish on its way arrived is unknown, so it is to be sent again. */
    lost() {
      if (this.wish) this.wish.ref = 0;
      this.thaw();
    }

    /** Let in what waited for an ack. */
    thaw() {
      this.#frozen = false;
      for (const message of this.#later.splice(0)) this.take(message);
    }

    /** @param {Message} message `counts` or `mine` */
    take(message) {
      if (this.#frozen && !message.reset) this.#later.push(message);
      else if (message.type === 'counts') this.#takeCounts(message);
      else this.#takeHeld(message);
    }

    /** The answer to `auth` or `watch` is complete and named nothing that I hold here. */
    holdsNothing() {
      this.take({ type: 'mine', reaction: null, version: this.#heldVersion });
    }

    /** @param {Message} message @returns {boolean} whether it settled the current wish, not one before it */
    ack(message) {
      this.#takeCounts(message);
      this.#takeHeld(message);
      return this.settle(message.ref);
    }

    /** @param {number | undefined} ref @returns {boolean} */
    settle(ref) {
      if (!this.wish || this.wish.ref !== ref) return false;
      this.wish = null;
      this.thaw();
      return true;
    }

    /** @param {Message} message */
    #takeCounts({ version = 0, counts, reset }) {
      if (reset) {
        this.#later = [];
        this.#heldVersion = -1;
        if (this.#outdated) this.#takeHeld(this.#outdated);
      } else if (version <= this.#version) {
        return;
      }
      this.#version = version;
      this.#counts = counts;
    }

    /** @param {Message} message */
    #takeHeld(message) {
      const { version = 0, reaction } = message;
      if (version < this.#heldVersion) {
        this.#outdated = message;
        return;
      }
      this.#heldVersion = version;
      this.#held = reaction;
      this.#outdated = null;
    }
  }

  // ── Visitor ───────────────────────────────────────────────────────────────────────────────────────────────

  /** @typedef {{token: string, expires: number, renew: number}} Pass times in seconds since 1970 */

  const now = () => Date.now() / 1000;

  /**
   * Who the person is on one server and site. Normally an anonymous pass: asked for at the first click and never
   * before, shared by all tabs through localStorage, renewed before it ends so that nobody gets a second vote by
   * waiting. A publisher's own token, once handed over, takes precedence and is kept in memory only.
   */
  class Visitor {
    #server;
    #site;
    #key;
    /** @type {Pass | null} */
    #pass;
    /** @type {string | (() => string | Promise<string>) | null} */
    #publisher = null;
    /** @type {string | null} what the publisher last gave */
    #given = null;
    /** @type {string | null} a token that the server did not accept */
    #refused = null;
    /** @type {Promise<string | null> | null} */
    #renewing = null;
    /** @type {Promise<string> | null} */
    #obtaining = null;

    /** @param {string} server @param {string} site @param {() => void} changed called when a token turns up */
    constructor(server, site, changed) {
      this.#server = server;
      this.#site = site;
      this.#key = `tallycast:${server}:${site}`;
      this.#pass = this.#load();
      addEventListener('storage', (event) => {
        if (event.key !== this.#key) return;
        const pass = this.#load();
        if (!pass || pass.token === this.#pass?.token) return;
        this.#pass = pass;
        changed();
      });
    }

    /** The token to present, if there is a good one. */
    get token() {
      const token = this.#publisher ? this.#given : (this.#pass?.expires ?? 0) > now() ? this.#pass?.token : null;
      return token && token !== this.#refused ? token : null;
    }

    /** Whether asking for a token now needs nobody's click: one is known, but old or not fetched yet. */
    get due() {
      return this.#publisher ? !this.token : !!this.#pass && (!this.token || this.#pass.renew < now());
    }

    /** @param {string | (() => string | Promise<string>) | null} publisher */
    adopt(publisher) {
      this.#publisher = publisher;
      this.#given = typeof publisher === 'string' ? publisher : null;
    }

    /** @param {string | null} token the server does not accept it */
    refuse(token) {
      this.#refused = token;
    }

    /** A fresh token for the same person, or null if there is no such thing. Never makes a new visitor. */
    renew() {
      this.#renewing ??= this.#renew().finally(() => (this.#renewing = null));
      return this.#renewing;
    }

    /** A token in any case, for somebody who clicked. @returns {Promise<string>} */
    obtain() {
      this.#obtaining ??= this.#obtain().finally(() => (this.#obtaining = null));
      return this.#obtaining;
    }

    async #obtain() {
      const token = this.token ?? (await this.renew());
      if (token) return token;
      if (this.#publisher) throw new Problem('unauthorized');
      return this.#store(await this.#post(null));
    }

    async #renew() {
      if (this.#publisher) {
        if (typeof this.#publisher === 'function') this.#given = await this.#publisher();
        return this.token;
      }
      this.#pass = this.#load() ?? this.#pass; // another tab may have been quicker
      if (!this.due) return this.token;
      const old = /** @type {Pass} */ (this.#pass);
      try {
        return this.#store(await this.#post(old.token));
      } catch (problem) {
        if (problem.code !== 'unauthorized') throw problem;
        this.#forget(); // too old, or from before the server's secret changed
        return null;
      }
    }

    /** @param {string | null} bearer @returns {Promise<{token: string, expires: number}>} */
    async #post(bearer) {
      const url = `${this.#server}/v1/visitors?site=${encodeURIComponent(this.#site)}`;
      const headers = bearer ? { Authorization: `Bearer ${bearer}` } : {};
      const response = await fetch(url, { method: 'POST', headers, credentials: 'omit' }).catch(() => {
        throw new Problem('offline');
      });
      const body = await response.json().catch(() => ({}));
      if (response.ok) return body;
      const code = response.status === 401 ? 'unauthorized' : body.code || 'unavailable';
      throw new Problem(code, body.detail, Number(response.headers.get('Retry-After')) || undefined);
    }

    /** @param {{token: string, expires: number}} answer @returns {string} */
    #store({ token, expires }) {
      // Two tabs may make a visitor in the same moment: the first one written is the person.
      const other = this.#load();
      if (other && other.token !== this.#pass?.token) {
        this.#pass = other;
        if (this.token) return this.token;
      }
      this.#pass = { token, expires, renew: expires - (expires - now()) / 3 };
      try {
        localStorage.setItem(this.#key, JSON.stringify(this.#pass));
      } catch {
        // Storage is blocked or full: this person is known for as long as the page is open.
      }
      return token;
    }

    #forget() {
      this.#pass = null;
      try {
        localStorage.removeItem(this.#key);
      } catch {}
    }

    /** @returns {Pass | null} */
    #load() {
      try {
        const pass = JSON.parse(localStorage.getItem(this.#key) ?? 'null');
        return typeof pass?.token === 'string' && pass.expires > 0 ? pass : null;
      } catch {
        return null;
      }
    }
  }

  // ── Link ──────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * @typedef {object} LinkEvents
   * @property {() => void} opened a new connection can be sent on; nothing was heard on it yet
   * @property {(message: Message) => void} received
   * @property {() => void} lost the connection that was open is gone
   * @property {(code: number) => void} refused the server does not want this page; there will be no other attempt
   * @property {(status: Status) => void} turned the status changed
   */

  /** One connection at a time, and another one when it breaks. */
  class Link {
    #url;
    #events;
    /** @type {WebSocket | null} */
    #socket = null;
    #timer = 0; // connect timeout, silence or pause before the next attempt: only one can be due
    #attempt = 0;
    #openedAt = 0;
    #heardAt = 0;
    /** @type {number | null} milliseconds that the server asked us to stay away */
    #pause = null;
    /** @type {Status} */
    status = 'connecting';

    /** @param {string} url @param {LinkEvents} events */
    constructor(url, events) {
      this.#url = url;
      this.#events = events;
    }

    get open() {
      return this.#socket?.readyState === WebSocket.OPEN;
    }

    /** Connect, unless that is done, under way or pointless. */
    start() {
      if (!this.#socket && !this.#timer && this.status !== 'closed') this.#connect();
    }

    /** Let go, until the next start. */
    stop() {
      this.#drop();
      clearTimeout(this.#timer);
      this.#timer = 0;
    }

    /** Something says that the network is back: do not sit out the pause, unless the server asked for it. */
    hurry() {
      if (this.#socket || !this.#timer || this.#pause !== null) return;
      this.#connect();
    }

    /** @param {Message} message */
    send(message) {
      this.#socket?.send(JSON.stringify(message));
    }

    #connect() {
      clearTimeout(this.#timer);
      this.#pause = null;
      try {
        this.#socket = new WebSocket(this.#url, 'tallycast.v1.json');
      } catch {
        this.#turn('closed'); // not a URL, or ws: from a page that must not use it
        return;
      }
      this.#timer = setTimeout(() => this.#drop(), CONNECT_TIMEOUT);
      this.#socket.onopen = () => {
        this.#openedAt = performance.now();
        this.#heard();
        clearTimeout(this.#timer);
        this.#listen();
        this.#events.opened();
      };
      this.#socket.onmessage = ({ data }) => {
        this.#heard();
        this.#receive(JSON.parse(data));
      };
      this.#socket.onclose = ({ code }) => this.#closed(code);
    }

    #heard() {
      this.#heardAt = performance.now();
    }

    #listen() {
      const left = this.#heardAt + SILENCE - performance.now();
      if (left <= 0) this.#drop();
      else this.#timer = setTimeout(() => this.#listen(), left);
    }

    /** @param {Message} message */
    #receive(message) {
      // Not before: a page that is refused gets a connection too, but only to be closed with the reason.
      this.#turn('live');
      if (message.type === 'bye') this.#pause = (message.retry_after ?? 0) * SECOND;
      else this.#events.received(message);
    }

    /** Give the connection up without waiting for a closing handshake that may never come. */
    #drop() {
      const socket = this.#socket;
      if (!socket) return;
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
      this.#closed(0);
    }

    /** @param {number} code */
    #closed(code) {
      clearTimeout(this.#timer);
      this.#timer = 0;
      this.#socket = null;
      if (code >= 4500 && code <= 4999) {
        this.#turn('closed');
        this.#events.refused(code);
        return;
      }
      if (this.#openedAt && performance.now() - this.#openedAt > STEADY) this.#attempt = 0;
      if (code === 4003) this.#attempt = Math.max(this.#attempt, 4); // overloaded: give it room
      this.#openedAt = 0;
      this.#timer = setTimeout(() => this.#connect(), this.#pause ?? this.#backoff());
      this.#turn('reconnecting');
      this.#events.lost();
    }

    #backoff() {
      const spread = Math.random() * 0.5 * 2 ** this.#attempt++;
      return Math.min(20, 0.5 + spread) * SECOND;
    }

    /** @param {Status} status */
    #turn(status) {
      if (this.status === status) return;
      this.status = status;
      this.#events.turned(status);
    }
  }

  // ── Channel ───────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * @typedef {object} Watcher an element, as a channel sees it
   * @property {() => void} update the tally may have changed
   * @property {(reaction: Reaction) => void} confirmed my wish, made on this element, is stored
   * @property {(problem: Problem, mine: boolean) => void} failed mine: my wish, made on this element, was undone
   * @property {(status: Status) => void} turned
   */

  /** @typedef {{id: string, tally: Tally, watchers: Set<Watcher>, watched: boolean, by: Watcher | null}} Room */

  /**
   * @typedef {object} Question what a message that is not answered yet was about
   * @property {Room[]} rooms
   * @property {'auth' | 'watch' | 'react'} about
   * @property {string | null} token the one last presented when it was asked
   * @property {Set<Room>} [silent] rooms of which the answer has not said yet what I hold there
   */

  /** Why a server turned a page away, by close code. */
  const REFUSALS = {
    4500: ['bad_message', 'the server closed the connection as abusive'],
    4503: ['forbidden', `the origin ${location.origin} is not allowed`],
    4504: ['unknown_site', 'there is no such site'],
    4505: ['bad_item', 'the item id is not valid'],
  };

  /** One server and site: every element of the page that shows something of it, over one connection. */
  class Channel {
    /** @type {Map<string, Room>} by item id */
    #rooms = new Map();
    /** @type {Map<number, Question>} by ref, on this connection */
    #questions = new Map();
    #ref = 0;
    /** @type {string | null} the token last presented on this connection */
    #presented = null;
    /** Whether the server could not take it, for now. */
    #mute = false;
    #syncing = false;
    #lingering = 0;
    #stumbles = 0;
    #visitor;
    #link;

    /** @param {string} server @param {string} site */
    constructor(server, site) {
      this.#visitor = new Visitor(server, site, () => this.#present());
      this.#link = new Link(`${server.replace(/^http/, 'ws')}/ws?site=${encodeURIComponent(site)}`, {
        opened: () => this.#opened(),
        received: (message) => this.#received(message),
        lost: () => this.#lost(),
        refused: (code) => this.#refused(code),
        turned: (status) => this.#watchers((watcher) => watcher.turned(status)),
      });
      // A page with an open socket may be kept out of the back/forward cache.
      addEventListener('pagehide', () => this.#link.stop());
      addEventListener('pageshow', () => this.#sync());
      addEventListener('online', () => this.#link.hurry());
      document.addEventListener('visibilitychange', () => document.hidden || this.#link.hurry());
    }

    get status() {
      return this.#link.status;
    }

    /** @param {string} id @param {Watcher} watcher @returns {Tally} */
    join(id, watcher) {
      let room = this.#rooms.get(id);
      if (!room) {
        room = { id, tally: new Tally(), watchers: new Set(), watched: false, by: null };
        this.#rooms.set(id, room);
      }
      room.watchers.add(watcher);
      this.#sync();
      return room.tally;
    }

    /** @param {string} id @param {Watcher} watcher */
    leave(id, watcher) {
      this.#rooms.get(id)?.watchers.delete(watcher);
      this.#sync();
    }

    /** @param {string} id @param {Reaction} reaction @param {Watcher} by */
    react(id, reaction, by) {
      const room = this.#rooms.get(id);
      if (!room) return;
      room.by = by;
      room.tally.want(reaction);
      this.#update(room);
      if (this.status === 'closed') this.#undo(room, new Problem('forbidden'));
      else this.#sendWishes();
    }

    /** @param {string | (() => string | Promise<string>) | null} publisher */
    adopt(publisher) {
      this.#visitor.adopt(publisher);
      if (publisher) this.#present();
      else if (this.#presented) this.#restart(); // there is no message for "nobody"
    }

    // Elements come, go and move in bursts: what the server hears is where they ended up.
    #sync() {
      if (this.#syncing) return;
      this.#syncing = true;
      queueMicrotask(() => {
        this.#syncing = false;
        this.#settleDown();
      });
    }

    #settleDown() {
      const gone = [];
      for (const room of this.#rooms.values()) {
        if (room.watchers.size) continue;
        if (room.watched) gone.push(room.id);
        room.watched = false;
        if (!room.tally.wish) this.#rooms.delete(room.id);
      }
      clearTimeout(this.#lingering);
      if (!this.#rooms.size) this.#lingering = setTimeout(() => this.#link.stop(), LINGER);
      else this.#link.start();
      if (!this.#link.open) return;
      for (let at = 0; at < gone.length; at += WATCH_ITEMS) {
        for (const items of parts(gone.slice(at, at + WATCH_ITEMS))) this.#link.send({ type: 'unwatch', items });
      }
      this.#watch([...this.#rooms.values()].filter((room) => room.watchers.size && !room.watched));
    }

    #opened() {
      this.#stumbles = 0;
      this.#present(); // first, so that the snapshots say what I hold
      this.#settleDown();
      this.#sendWishes();
    }

    #lost() {
      this.#mute = false;
      this.#questions.clear();
      this.#presented = null;
      for (const room of this.#rooms.values()) {
        room.watched = false;
        room.tally.lost();
        this.#update(room);
      }
    }

    #restart() {
      this.#link.stop();
      this.#link.start();
    }

    /** @param {number} code */
    #refused(code) {
      const [name, reason] = REFUSALS[code] ?? ['forbidden', `the server closed the connection with ${code}`];
      console.warn(`tallycast: ${reason}`);
      this.#lost();
      const problem = new Problem(name, reason);
      for (const room of this.#rooms.values()) {
        if (room.tally.wish) this.#undo(room, problem);
        else for (const watcher of room.watchers) watcher.failed(problem, false);
      }
    }

    /** Say who I am, if that is known without making anybody up. */
    #present() {
      if (!this.#link.open) return;
      const { token, due } = this.#visitor;
      if (token && token !== this.#presented) this.#auth(token);
      if (due) {
        this.#visitor.renew().then(
          (fresh) => fresh && this.#link.open && fresh !== this.#presented && this.#auth(fresh),
          () => {}, // whoever clicks will ask again, and be told
        );
      }
    }

    /** @param {string} token */
    #auth(token) {
      this.#presented = token;
      this.#ask('auth', { token }, [...this.#rooms.values()].filter((room) => room.watched));
    }

    /** @param {Room[]} rooms */
    #watch(rooms) {
      for (const ids of parts(rooms.map((room) => room.id))) {
        const asked = ids.map((id) => /** @type {Room} */ (this.#rooms.get(id)));
        const known = asked.filter((room) => room.tally.version !== undefined);
        const since = known.length && Object.fromEntries(known.map((room) => [room.id, room.tally.version]));
        for (const room of asked) room.watched = true;
        this.#ask('watch', { items: ids, ...(since && { since }) }, asked);
      }
    }

    /** Send what was wished for and is not on its way. */
    async #sendWishes() {
      const unsent = () => [...this.#rooms.values()].filter((room) => room.tally.wish?.ref === 0);
      if (!this.#link.open || !unsent().length) return;
      if (!this.#presented) {
        try {
          const token = await this.#visitor.obtain();
          if (!this.#link.open) return; // the next connection begins with this
          if (!this.#presented) this.#auth(token);
        } catch (problem) {
          this.#noToken(problem, unsent());
          return;
        }
      }
      for (const room of unsent()) {
        const wish = /** @type {NonNullable<Tally['wish']>} */ (room.tally.wish);
        const ref = this.#ask('react', { item: room.id, reaction: wish.reaction }, [room]);
        room.tally.sent(ref);
        setTimeout(() => room.tally.wish?.ref === ref && (room.tally.thaw(), this.#update(room)), HOLD);
      }
    }

    /** @param {Problem} problem @param {Room[]} rooms */
    #noToken(problem, rooms) {
      // The socket notices a server that went away a little later than a request does. Give it that time.
      if (problem.code === 'offline' && this.#stumbles++ < 3) {
        setTimeout(() => this.#sendWishes(), SECOND);
      } else {
        this.#stumbles = 0;
        for (const room of rooms) this.#undo(room, problem);
      }
    }

    /** @param {Question['about']} about @param {object} fields @param {Room[]} rooms @returns {number} the ref */
    #ask(about, fields, rooms) {
      const ref = ++this.#ref;
      this.#questions.set(ref, { about, rooms, token: this.#presented, silent: new Set(about === 'react' ? [] : rooms) });
      this.#link.send({ type: about, ...fields, ref });
      return ref;
    }

    /** @param {Message} message */
    #received(message) {
      const question = message.ref === undefined ? undefined : this.#questions.get(message.ref);
      if (message.ref !== undefined) this.#questions.delete(message.ref);
      const room = message.item === undefined ? undefined : this.#rooms.get(message.item);
      switch (message.type) {
        case 'counts':
        case 'mine':
          if (message.type === 'mine') this.#spoke(room);
          room?.tally.take(message);
          break;
        case 'ack':
          this.#spoke(room);
          if (room?.tally.ack(message)) this.#confirmed(room, message.reaction);
          break;
        case 'ready':
          this.#mute = false;
        // falls through
        case 'watching':
          for (const silent of question?.silent ?? []) {
            silent.tally.holdsNothing();
            this.#update(silent);
          }
          break;
        case 'error':
          this.#failed(message, question);
          break;
      }
      if (room) this.#update(room);
    }

    /** @param {Room | undefined} room */
    #spoke(room) {
      if (room) for (const { silent } of this.#questions.values()) silent?.delete(room);
    }

    /** @param {Room} room @param {Reaction} reaction */
    #confirmed(room, reaction) {
      this.#update(room);
      room.by?.confirmed(reaction);
      room.by = null;
      if (!room.watchers.size) this.#sync();
    }

    /** @param {Message} message @param {Question | undefined} question */
    #failed({ code, message: text, retry_after, ref }, question) {
      const problem = new Problem(code, text, retry_after);
      if (code === 'unauthorized') this.#unknown(question ? question.token : this.#presented);
      else if (question?.about === 'auth') this.#unheard(question.token, problem);
      if (question?.about === 'watch') this.#watchFailed(question.rooms, problem);
      if (question?.about === 'react') {
        // Nobody is known to a server that could not look at who I am: that is no reason to be sent to sign in.
        const honest = code === 'unauthorized' && this.#mute ? new Problem('unavailable', text) : problem;
        this.#reactFailed(question.rooms[0], ref, honest);
      }
    }

    /**
     * The server could not take who I am: the token is good, and is shown again later.
     * @param {string | null} token what I was to be known by
     * @param {Problem} problem
     */
    #unheard(token, problem) {
      if (token !== this.#presented) return;
      this.#presented = null;
      this.#mute = true;
      setTimeout(() => this.#present(), (problem.retryAfter ?? 1) * SECOND);
    }

    /**
     * The server does not know me: the token ended, was revoked, or is from another life of the server.
     * @param {string | null} token what I was to be known by
     */
    #unknown(token) {
      if (!token || token !== this.#presented) return; // dealt with already
      this.#visitor.refuse(token);
      this.#presented = null;
      this.#present();
    }

    /** @param {Room[]} rooms @param {Problem} problem */
    #watchFailed(rooms, problem) {
      if (problem.code === 'unavailable') return; // it stands, the snapshots follow
      for (const room of rooms) room.watched = false;
      if (problem.code === 'rate_limited') {
        setTimeout(() => this.#sync(), (problem.retryAfter ?? 1) * SECOND);
      } else if (rooms.length > 1) {
        for (const room of rooms) this.#watch([room]); // one bad id must not cost the others theirs
      } else {
        rooms[0].watched = true; // in vain, but not again
        for (const watcher of rooms[0].watchers) watcher.failed(problem, false);
      }
    }

    /** @param {Room} room @param {number | undefined} ref @param {Problem} problem */
    #reactFailed(room, ref, problem) {
      const { wish } = room.tally;
      if (!wish || wish.ref !== ref) return; // superseded by a newer wish
      if (problem.code === 'unauthorized' && !wish.retried) {
        wish.retried = true;
        room.tally.lost();
        this.#sendWishes();
        return;
      }
      this.#undo(room, problem);
      // It may have been stored all the same. A watch says for certain.
      if (problem.code === 'unavailable' && room.watchers.size) this.#watch([room]);
    }

    /** @param {Room} room @param {Problem} problem */
    #undo(room, problem) {
      room.tally.settle(room.tally.wish?.ref);
      this.#update(room);
      room.by?.failed(problem, true);
      room.by = null;
      if (!room.watchers.size) this.#sync();
    }

    /** @param {Room} room */
    #update(room) {
      for (const watcher of room.watchers) watcher.update();
    }

    /** @param {(watcher: Watcher) => void} visit */
    #watchers(visit) {
      for (const room of this.#rooms.values()) room.watchers.forEach(visit);
    }
  }

  /** Split ids into messages that keep within the contract's limits. @param {string[]} ids */
  function* parts(ids) {
    let part = [];
    let size = 0;
    for (const id of ids) {
      const cost = 2 * utf8.encode(JSON.stringify(id)).length + 24; // in `items`, and in `since` with its version
      if (part.length && (part.length === WATCH_ITEMS || size + cost > WATCH_BYTES)) {
        yield part;
        part = [];
        size = 0;
      }
      part.push(id);
      size += cost;
    }
    if (part.length) yield part;
  }

  /** @type {Map<string, Channel>} */
  const channels = new Map();
  /** @type {string | (() => string | Promise<string>) | null} */
  let publisher = null;

  /** @param {string} server @param {string} site @returns {Channel} */
  function channelTo(server, site) {
    const key = `${server} ${site}`;
    let channel = channels.get(key);
    if (!channel) {
      channel = new Channel(server, site);
      if (publisher) channel.adopt(publisher);
      channels.set(key, channel);
    }
    return channel;
  }

  // ── element ───────────────────────────────────────────────────────────────────────────────────────────────

  const CSS = `
    :host { display: inline-block; max-width: 100%; vertical-align: middle; }
    :host([hidden]) { display: none; }
    :host([theme=light]) { color-scheme: light; color: #1d2129; }
    :host([theme=dark]) { color-scheme: dark; color: #e8eaee; }
    .root {
      --like: var(--tallycast-like, light-dark(#1f6feb, #5b9dff));
      --dislike: var(--tallycast-dislike, light-dark(#c2410c, #fb8a4c));
      --line: var(--tallycast-line, color-mix(in srgb, currentColor 20%, transparent));
      display: flex; flex-wrap: wrap; align-items: center; gap: .4em .8em;
      color: var(--tallycast-color, inherit);
      font: 500 var(--tallycast-size, .9375em)/1.25 var(--tallycast-font, system-ui, sans-serif);
      letter-spacing: normal; text-align: start; text-indent: 0; text-transform: none; white-space: normal;
      word-spacing: normal; -webkit-font-smoothing: antialiased;
    }
    .box { display: grid; gap: 5px; max-width: 100%; }
    .buttons {
      display: inline-flex; border: 1px solid var(--line); border-radius: 99em;
      background: var(--tallycast-surface, transparent);
    }
    :host([theme=light]) .buttons { background: var(--tallycast-surface, #fff); }
    :host([theme=dark]) .buttons { background: var(--tallycast-surface, #1b1e23); }
    button {
      display: inline-flex; align-items: center; gap: .45em; box-sizing: border-box;
      min-height: 2.65em; padding: 0 1em; margin: 0; border: 0; border-radius: 99em;
      background: none; color: inherit; font: inherit; cursor: pointer; touch-action: manipulation;
      -webkit-tap-highlight-color: transparent; transition: background-color .15s, color .15s;
    }
    button[hidden] { display: none; }
    button:disabled { cursor: default; }
    .like:has(+ :not([hidden])) { border-start-end-radius: 0; border-end-end-radius: 0; }
    .like:not([hidden]) + button {
      border-start-start-radius: 0; border-end-start-radius: 0; border-inline-start: 1px solid var(--line);
    }
    button:hover:enabled { background: color-mix(in srgb, currentColor 7%, transparent); }
    button:focus-visible {
      outline: 2px solid currentColor; outline-offset: 2px; z-index: 1; position: relative;
    }
    .like { --tint: var(--like); }
    .dislike { --tint: var(--dislike); }
    svg {
      width: 1.3em; height: 1.3em; flex: none; fill: transparent; stroke: currentColor; stroke-width: 1.7;
      stroke-linejoin: round; stroke-linecap: round; transition: fill .15s, stroke .15s, transform .2s;
    }
    .dislike svg { rotate: 180deg; }
    button:active:enabled svg { transform: scale(.86); }
    [aria-pressed=true] { background: color-mix(in srgb, var(--tint) 13%, transparent); }
    [aria-pressed=true]:hover:enabled { background: color-mix(in srgb, var(--tint) 19%, transparent); }
    [aria-pressed=true] svg {
      stroke: var(--tint); fill: var(--tint);
    }
    .count {
      min-width: 1ch; text-align: start; font-variant-numeric: tabular-nums; white-space: nowrap;
      transition: opacity .3s;
    }
    .stale .count { opacity: .55; transition-delay: 1s; }
    .bar {
      height: 3px; margin: 0 1.1em; overflow: hidden; border-radius: 3px;
      background: color-mix(in srgb, currentColor 13%, transparent);
    }
    .bar.voted { background: color-mix(in srgb, var(--dislike) 55%, transparent); }
    .bar i {
      display: block; height: 100%; background: var(--like); transform: scaleX(var(--share, 0));
      transform-origin: left; transition: transform .4s cubic-bezier(.2, .7, .2, 1), background-color .3s;
    }
    .bar:dir(rtl) i { transform-origin: right; }
    .stale .bar, .stale .bar i { background: color-mix(in srgb, currentColor 22%, transparent); }
    :host([hide-dislikes]) .dislike .count, :host([hide-dislikes]) .bar { display: none; }
    .note { font-size: .875em; font-weight: 400; text-wrap: balance; }
    .note:not(.seen) {
      position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap;
    }
    @media (pointer: coarse) { button { min-height: max(2.65em, 44px); } }
    @media (prefers-reduced-motion: reduce) { *, .bar i { transition: none !important; } }
    @media (forced-colors: active) {
      .bar { outline: 1px solid CanvasText; }
      .bar i { background: CanvasText; }
      [aria-pressed=true] { forced-color-adjust: none; background: Highlight; color: HighlightText; }
      [aria-pressed=true] svg { stroke: HighlightText; fill: HighlightText; }
    }
  `;
  const sheet = new CSSStyleSheet(); // adopted, not a <style>: a page's style-src does not block it
  sheet.replaceSync(CSS);

  const THUMB =
    'M7.5 10.8 11 3.4c1.7 0 2.8 1.2 2.6 2.9l-.4 3.2h5.2c1.4 0 2.4 1.3 2 2.6l-1.7 6.3a2 2 0 0 1-2 1.6H7.5z' +
    'M7.5 10.8v9.2H4.7a1 1 0 0 1-1-1v-7.2a1 1 0 0 1 1-1z';

  const KINDS = [
    { kind: 'like', label: 'Like' },
    { kind: 'dislike', label: 'Dislike' },
  ];

  const SORRY = {
    rate_limited: 'That was a little fast. Please try again in a moment.',
    unauthorized: 'Please sign in to vote.',
    forbidden: 'Voting is not possible on this page.',
    offline: 'The server cannot be reached. Please try again later.',
  };
  const SORRY_ELSE = 'Your vote could not be saved. Please try again.';
  const KEPT = 'You are offline. Your vote is kept and will be sent when the connection is back.';

  /**
   * @template {keyof HTMLElementTagNameMap} T
   * @param {T} tag @param {Record<string, string>} attributes @param {...Node} children
   * @returns {HTMLElementTagNameMap[T]}
   */
  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  function makeThumb() {
    const namespace = 'http://www.w3.org/2000/svg';
    const svg = document.createElementNS(namespace, 'svg');
    svg.setAttribute('viewBox', '0 0 24 24');
    svg.setAttribute('aria-hidden', 'true');
    const path = document.createElementNS(namespace, 'path');
    path.setAttribute('d', THUMB);
    svg.append(path);
    return svg;
  }

  /** An id as the contract wants it: one that is too long becomes its digest. @param {string} id */
  async function digest(id) {
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', utf8.encode(id)));
    return `sha256:${Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
  }

  /**
   * Attributes: item, site, server, theme (auto, light, dark), lang, format (compact, full), label-like,
   * label-dislike, hide-dislikes (their number and the bar, not the button), readonly.
   *
   * Events, all bubbling and composed, with what they are about in `detail`:
   *   tallycast:ready   {item, counts, reaction}  the first counts are shown
   *   tallycast:change  {item, counts, reaction}  what is shown changed, for whatever reason
   *   tallycast:react   {item, reaction}          a reaction made here is stored
   *   tallycast:error   {item, code, message, retryAfter}
   *   tallycast:status  {status, server}          connecting, live, reconnecting or closed
   */
  class LiveReactions extends HTMLElement {
    static observedAttributes = [
      'item', 'site', 'server', 'lang', 'format', 'label-like', 'label-dislike', 'readonly',
    ];

    #internals = this.attachInternals();
    #root = make('div', { class: 'root' });
    #fill = make('i', {});
    #bar = make('div', { class: 'bar', part: 'bar', 'aria-hidden': 'true' }, this.#fill);
    #note = make('span', { class: 'note', role: 'status' });
    #noteTimer = 0;
    /** @type {Map<string, {button: HTMLButtonElement, count: HTMLElement}>} */
    #controls = new Map();
    #format = new Intl.NumberFormat();

    #server = DEFAULT_SERVER;
    #item = '';
    /** @type {Channel | null} */
    #channel = null;
    /** @type {Tally | null} */
    #tally = null;
    /** @type {Counts | null} what was drawn last */
    #counts = null;
    /** @type {Reaction} */
    #reaction = null;

    /** @type {Watcher} */
    #watcher = {
      update: () => this.#draw(),
      confirmed: (reaction) => this.#confirmed(reaction),
      failed: (problem, mine) => this.#failed(problem, mine),
      turned: () => this.#turned(),
    };

    constructor() {
      super();
      const shadow = this.attachShadow({ mode: 'open' });
      shadow.adoptedStyleSheets = [sheet];
      const buttons = make('div', { class: 'buttons', role: 'group', 'aria-label': 'Reactions' });
      for (const { kind } of KINDS) buttons.append(this.#makeButton(kind));
      this.#root.append(make('div', { class: 'box' }, buttons, this.#bar), this.#note);
      shadow.append(this.#root);
    }

    connectedCallback() {
      this.#relabel();
      this.#join();
    }

    disconnectedCallback() {
      this.#leave();
    }

    /** @param {string} name @param {string | null} before @param {string | null} after */
    attributeChangedCallback(name, before, after) {
      if (!this.isConnected || before === after) return;
      if (name === 'item' || name === 'site' || name === 'server') this.#join();
      else this.#relabel();
    }

    /** @param {string} kind */
    #makeButton(kind) {
      // The count describes the button. It is not part of its name, which stays the same.
      const count = make('span', { class: 'count', part: 'count', id: kind });
      const button = make(
        'button',
        { type: 'button', class: kind, part: kind, 'aria-pressed': 'false', 'aria-describedby': kind },
        makeThumb(),
        count,
      );
      button.addEventListener('click', () => this.#clicked(kind));
      this.#controls.set(kind, { button, count });
      return button;
    }

    #relabel() {
      for (const { kind } of KINDS) {
        const control = this.#control(kind);
        control.button.setAttribute('aria-label', this.#label(kind));
        control.button.title = this.#label(kind);
        control.button.disabled = this.hasAttribute('readonly');
      }
      const locale = this.closest('[lang]')?.getAttribute('lang') || undefined;
      const options = this.getAttribute('format') === 'full' ? {} : { notation: 'compact', roundingMode: 'trunc' };
      try {
        this.#format = new Intl.NumberFormat(locale, /** @type {any} */ (options));
      } catch {
        this.#format = new Intl.NumberFormat(undefined, /** @type {any} */ (options)); // not a language
      }
      if (this.#counts) this.#write(this.#counts);
    }

    /** @param {string} kind */
    #label(kind) {
      return this.getAttribute(`label-${kind}`) || KINDS.find((one) => one.kind === kind)?.label || kind;
    }

    /** @param {string} kind */
    #control(kind) {
      return /** @type {{button: HTMLButtonElement, count: HTMLElement}} */ (this.#controls.get(kind));
    }

    async #join() {
      this.#leave();
      const address = new URL(this.getAttribute('server') || DEFAULT_SERVER, location.href);
      this.#server = address.origin + address.pathname.replace(/\/+$/, '');
      const channel = channelTo(this.#server, this.getAttribute('site') || DEFAULT_SITE);
      const id = this.getAttribute('item') || this.#pageId();
      this.#item = id;
      if (utf8.encode(id).length > ITEM_BYTES) {
        const short = await digest(id);
        if (this.#item !== id) return; // somebody changed it in the meantime, or took the element away
        this.#item = short;
      }
      this.#channel = channel;
      this.#tally = channel.join(this.#item, this.#watcher);
      this.#turned();
      this.#draw();
    }

    #leave() {
      this.#channel?.leave(this.#item, this.#watcher);
      this.#channel = this.#tally = this.#counts = null;
      this.#item = '';
      for (const { count } of this.#controls.values()) count.textContent = '';
    }

    #pageId() {
      const canonical = /** @type {HTMLLinkElement | null} */ (document.querySelector('link[rel~=canonical][href]'));
      return canonical?.href || location.origin + location.pathname;
    }

    /** @param {string} kind */
    #clicked(kind) {
      if (!this.#channel || !this.#tally) return;
      const reaction = this.#tally.reaction === kind ? null : kind;
      this.#say('', false);
      this.#channel.react(this.#item, reaction, this.#watcher);
      if (this.#channel.status === 'reconnecting') this.#say(KEPT, true);
    }

    /** @param {Reaction} reaction */
    #confirmed(reaction) {
      this.#say(reaction ? `Your vote: ${this.#label(reaction)}.` : 'Your vote was removed.', false);
      this.#emit('react', { item: this.#item, reaction });
    }

    /** @param {Problem} problem @param {boolean} mine */
    #failed({ code, message, retryAfter }, mine) {
      if (mine) this.#say(SORRY[code] ?? SORRY_ELSE, true);
      this.#emit('error', { item: this.#item, code, message, retryAfter });
    }

    #turned() {
      const status = /** @type {Channel} */ (this.#channel).status;
      const stale = status !== 'live';
      this.#root.classList.toggle('stale', stale);
      try {
        this.#internals.states[stale ? 'add' : 'delete']('stale');
      } catch {} // a browser from when custom states were still called --stale
      this.#emit('status', { status, server: this.#server });
    }

    #draw() {
      if (!this.#tally) return;
      const { counts, reaction } = this.#tally;
      const before = this.#counts;
      if (reaction !== this.#reaction) {
        for (const [kind, { button }] of this.#controls) button.setAttribute('aria-pressed', `${kind === reaction}`);
      }
      if (counts && !same(counts, before)) this.#write(counts);
      const changed = reaction !== this.#reaction || !same(counts, before);
      this.#reaction = reaction;
      this.#counts = counts;
      if (!counts || !changed) return;
      this.#emit(before ? 'change' : 'ready', { item: this.#item, counts: { ...counts }, reaction });
    }

    /** @param {Counts} counts */
    #write(counts) {
      for (const [kind, { button, count }] of this.#controls) {
        button.hidden = !(kind in counts); // the site has not configured it
        const text = this.#format.format(counts[kind] ?? 0);
        if (count.textContent === text) continue;
        if (count.textContent) this.#roll(count);
        count.textContent = text;
      }
      const { like = 0, dislike = 0 } = counts;
      const total = like + dislike;
      this.#bar.classList.toggle('voted', total > 0);
      this.#fill.style.setProperty('--share', `${total ? like / total : 0}`);
    }

    /** @param {HTMLElement} count */
    #roll(count) {
      if (matchMedia('(prefers-reduced-motion: reduce)').matches || count.getAnimations().length) return;
      count.animate([{ opacity: 0, transform: 'translateY(.35em)' }, { opacity: 1, transform: 'none' }], {
        duration: 180,
        easing: 'ease-out',
      });
    }

    /**
     * Said once, politely, about the person's own vote only. Counts are outside: each change would be read aloud.
     * @param {string} text @param {boolean} seen for the eye too
     */
    #say(text, seen) {
      clearTimeout(this.#noteTimer);
      this.#note.classList.toggle('seen', seen);
      this.#note.textContent = text;
      if (seen) this.#noteTimer = setTimeout(() => this.#say('', false), 8 * SECOND);
    }

    /** @param {string} name @param {object} detail */
    #emit(name, detail) {
      this.dispatchEvent(new CustomEvent(`tallycast:${name}`, { detail, bubbles: true, composed: true }));
    }
  }

  /** @param {Counts | null} a @param {Counts | null} b */
  function same(a, b) {
    if (!a || !b) return a === b;
    return Object.keys(a).length === Object.keys(b).length && Object.keys(a).every((kind) => a[kind] === b[kind]);
  }

  Object.assign(window, {
    tallycast: Object.freeze({
      /**
       * Hand over the publisher's own token, or a function that returns one or a promise of one, asked again when
       * the server no longer accepts the last. `null` goes back to the anonymous visitor.
       * @param {string | (() => string | Promise<string>) | null} token
       */
      auth(token) {
        publisher = token;
        for (const channel of channels.values()) channel.adopt(token);
      },
    }),
  });

  customElements.define('live-reactions', LiveReactions);
})();
