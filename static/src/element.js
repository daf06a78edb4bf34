/**
 * `<live-reactions>`: draws an item, and turns clicks into reactions. Owns its attributes and events. Does not depend on
 * servers, nor on the page around it except its own attributes and children.
 *
 * Attributes: item, site, server, theme (auto, light, dark), lang, format (compact, full), hide-dislikes (their number
 * and the bar, not the button), readonly, label-like, label-dislike, label-… for any other reaction, text-… for
 * other texts: see text.js.
 * Children `<data data-kind="like" value="12">` are the counts to show before those of the server.
 *
 * Events, all bubbling and composed, with their `detail`: see live-reactions.d.ts.
 */
import { channelTo } from './channel.js';
import { digestOf, pageItem } from './item.js';
import { SERVER, SITE } from './script.js';
import { baseOf, countsOf, NO_ITEM, reactionOf } from './store.js';
import { sheet } from './styles.js';
import { labelOf, textOf } from './text.js';
import { view } from './view.js';
import { observer } from './watches.js';

/** @typedef {import('./store.js').Counts} Counts */
/** @typedef {import('./store.js').Reaction} Reaction */
/** @typedef {import('./http.js').Problem} Problem */

/** @typedef {ReturnType<typeof controllerOf>} Controller */

/** @type {Set<Controller>} */
const connected = new Set();
const refreshAll = () => connected.forEach((one) => one._refresh());

/** Observe the attributes and children of a node, and of its descendants. @param {Node} node */
const observe = (node) => mutations.observe(node, { attributes: true, childList: true, subtree: true });

/** @type {MutationObserver} */
let mutations;

/** @type {IntersectionObserver} */
let near;

/** Start what all elements share. Call it once, where there is a page. */
export const start = () => {
  sheet(window); // a browser that cannot make it throws, and the page stays as without the script
  mutations = new MutationObserver(refreshAll);
  near = observer();
  observe(document.head);
  /** @type {any} */ (window).navigation?.addEventListener('currententrychange', refreshAll);
  // Without the Navigation API there is no event for `pushState`: these events, and every click, check again.
  addEventListener('popstate', refreshAll);
  addEventListener('visibilitychange', refreshAll);
};

/**
 * The behaviour of one element; a `Watcher`.
 * @param {HTMLElement} host
 */
export const controllerOf = (host) => {
  observe(host);
  near.observe(host);
  const { states } = host.attachInternals();
  /** @type {import('./channel.js').Channel | undefined} */
  let channel;
  let item = NO_ITEM;
  /** @type {string | undefined} */
  let drawnState;
  /** @type {string | undefined} */
  let id;

  const { _draw, _announce } = view(host, async (kind) => {
    await self._refresh(); // the page may have changed since
    if (item !== NO_ITEM) channel?._react(item, reactionOf(item) === kind ? null : kind, self);
  });

  /** @param {string} name @param {object} detail */
  const emit = (name, detail) => {
    host.dispatchEvent(new CustomEvent('tallycast:' + name, { detail: { item: item._id, ...detail }, bubbles: true, composed: true }));
  };

  const self = {
    /** Apply attributes, page and children. A move within the page changes nothing. */
    async _refresh() {
      const server = (host.getAttribute('server') || SERVER).replace(/\/+$/, '');
      const nextChannel = host.isConnected ? channelTo(server, host.getAttribute('site') || SITE) : undefined;
      connected[nextChannel ? 'add' : 'delete'](self);
      const attribute = host.getAttribute('item');
      const nextId = attribute || pageItem(host);
      if (nextChannel !== channel || nextId !== id) {
        item._elements.delete(self);
        channel?._refresh();
        item = NO_ITEM;
        drawnState = '';
        _announce();
        channel = nextChannel;
        id = nextId;
        attribute || (location.search && console.info('Tallycast: see params', id));
        const digest = digestOf(id);
        const itemId = digest ? await digest : id;
        if (nextChannel !== channel || nextId !== id) return; // changed meanwhile, or removed
        if (channel) {
          item = channel._itemOf(itemId);
          item._elements.add(self);
          self._onStatus();
          channel._reportRefusal(self);
        }
      }
      channel?._refresh();
      self._draw();
    },

    _draw() {
      const counts = countsOf(item, pageCounts(host));
      const reaction = reactionOf(item);
      _draw(counts, reaction);
      const before = drawnState;
      // The counts of an item arrive before the person's reaction: one `ready` for both.
      if (!baseOf(item)._counts || (!before && item._answerRef)) return;
      drawnState = '' + [counts, reaction];
      if (drawnState !== before) emit(before ? 'change' : 'ready', { reaction, counts: Object.fromEntries(/** @type {Counts} */ (counts)) });
    },

    /** @param {Reaction} reaction */
    _confirmed(reaction) {
      _announce(reaction ? textOf(host, 'vote').replace('*', () => labelOf(host, reaction)) : textOf(host, 'none'));
      emit('react', { reaction });
    },

    /** @param {Problem} problem @param {boolean} [mine] */
    _failed(problem, mine) {
      if (problem.code === 'bad_item') console.warn('Tallycast: ' + problem.message, id);
      if (mine) _announce(textOf(host, problem.code), 'seen');
      emit('error', problem);
    },

    _onStatus() {
      const status = /** @type {import('./channel.js').Channel} */ (channel)._status();
      try {
        states[status === 'live' ? 'delete' : 'add']('stale');
      } catch {} // an older browser, in which custom states are named --stale
      emit('status', { status });
    },
  };
  return self;
};

/** The counts in the page itself, if any. @param {Element} host @returns {Counts} */
const pageCounts = (host) => {
  const counts = [...host.querySelectorAll('data')].map((data) => [data.dataset.kind, +data.value]);
  return /** @type {any[]} */ (counts).filter((pair) => pair[0]);
};
