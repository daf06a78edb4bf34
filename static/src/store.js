/**
 * The state of one item: the server's counts, the person's pending reaction, and what is shown of both. Owns the order
 * of updates by version. Pure: no I/O and no clock.
 *
 * What is shown is always the server's counts plus the pending reaction, computed afresh; nothing is read back from the
 * page. While a reaction is in flight, the counts may or may not include it, and do not tell. So it is shown on top of
 * the counts from before it was sent, until the ack, which has both.
 */

/** @typedef {[kind: string, count: number][]} Counts of each reaction that the site has configured, in its order */
/** @typedef {string | null} Reaction of a person, stored or pending; null for none */
/** @typedef {{type?: string, ref?: number, item?: string, version?: number, [field: string]: any}} Message */

/**
 * @typedef {object} Watcher an element, as other modules see it
 * @property {boolean} [_near] whether a person can see it, or nearly
 * @property {() => void} _draw its item may have changed
 * @property {() => void} _onStatus the status of its connection has changed
 * @property {(reaction: Reaction) => void} _confirmed a reaction that was set on it is committed
 * @property {(problem: import('./http.js').Problem, mine?: boolean) => void} _failed mine: such a reaction was undone, or is delayed
 */

/** @typedef {{_counts?: Counts, _reaction: Reaction}} Base what the pending reaction is shown on */

/**
 * @typedef {object} PendingReaction
 * @property {Reaction} _reaction a state, not a toggle: sending it is idempotent
 * @property {number} [_ref] of its message, while in flight
 * @property {boolean} [_retried]
 * @property {Base | 0} [_base] the item as it was when it was sent, while in flight and not for too long
 * @property {Watcher} [_source] where it was set
 * @property {unknown} [_publisher] the publisher's token or function at that time; none for an anonymous visitor
 */

/**
 * @typedef {object} Item
 * @property {string} _id
 * @property {Set<Watcher>} _elements that show it
 * @property {boolean} [_watched] as the server knows it
 * @property {number} _answerRef ref of the answer that will have my reaction; 0 for none
 * @property {Counts} [_counts]
 * @property {any} [_version] of the counts, a number once they are known
 * @property {Reaction} _reaction mine, confirmed
 * @property {any} [_reactionVersion] of my reaction, a number once it is known
 * @property {PendingReaction} [_pending]
 */

/** @param {string} id @returns {Item} */
export const newItem = (id) => ({
  _id: id,
  _elements: new Set(),
  _reaction: null,
  _answerRef: 0,
});

/** Stands for no item. @type {Item} */
export const NO_ITEM = newItem(/** @type {any} */ (undefined));

/** My reaction, as shown. @param {Item} item @returns {Reaction} */
export const reactionOf = (item) => (item._pending || item)._reaction;

/** The server's state, as far as it is shown. @param {Item} item @returns {Base} */
export const baseOf = (item) => item._pending?._base || item;

/**
 * The counts to show; `known` before the server's first ones.
 * @param {Item} item @param {Counts} known @returns {Counts}
 */
export const countsOf = (item, known) => {
  const { _counts = known, _reaction } = baseOf(item);
  const mine = reactionOf(item);
  return _counts.map(([kind, count]) => [
    kind,
    Math.max(0, count + /** @type {any} */ (kind === mine) - /** @type {any} */ (kind === _reaction)),
  ]);
};

/**
 * Apply an update of an item: `counts`, `mine`, or both.
 * @param {Item} item @param {Message} message
 * @returns {boolean} whether the store went back: a restored backup
 */
export const applyUpdate = (item, message) => {
  const { counts, reaction, reset } = message;
  const version = /** @type {number} */ (message.version);
  const wentBack = reset && version < item._version;
  if (wentBack) {
    item._reactionVersion = undefined;
    if (item._pending) item._pending._base = 0; // it is void
  }
  if (counts && (wentBack || !(version <= item._version))) {
    item._version = version;
    // Pairs, because a reaction may have any name, also `constructor`. For the line break see `parse`.
    item._counts = Object.entries(counts).map(([kind, count]) => [kind.replace('\n', ''), count]);
  }
  if (reaction !== undefined && !(version < item._reactionVersion)) {
    item._reactionVersion = version;
    item._reaction = reaction;
  }
  return wentBack;
};

/** The connection was lost: a pending reaction has to be sent again. @param {Item} item */
export const markUnsent = (item) => {
  if (item._pending) item._pending._ref = item._pending._base = 0;
};
