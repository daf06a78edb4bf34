/**
 * One item: what the server said, what the person wishes, and what is therefore shown. Owns the order of news.
 * Pure: no I/O and no clock.
 *
 * What is shown is always the server's counts plus my unconfirmed change, computed afresh; nothing is ever read
 * back from the page. From the moment a wish is on its way until its ack, the server's counts may or may not
 * contain it already, and nothing in them tells. So the change is shown on what was known when it left, until the ack,
 * which says both at once.
 */

/** @typedef {[kind: string, count: number][]} Counts of each reaction that the site has configured, in its order */
/** @typedef {string | null} Reaction what a person holds or wishes; null for nothing */
/** @typedef {{type?: string, ref?: number, item?: string, version?: number, [field: string]: any}} Message */

/**
 * @typedef {object} Watcher an element, as those see it that do not know what one is
 * @property {boolean} [_near] whether a person can see it, or nearly
 * @property {() => void} _draw its item may have changed
 * @property {() => void} _turned the status of its connection has
 * @property {(reaction: Reaction) => void} _confirmed a wish that was made on it is stored
 * @property {(problem: import('./http.js').Problem, mine?: boolean) => void} _failed mine: such a wish was undone, or has to wait
 */

/** @typedef {{_counts?: Counts, _reaction: Reaction}} Base what my change is shown on */

/**
 * @typedef {object} Wish
 * @property {Reaction} _reaction a state, never a flip: sending it twice does no harm
 * @property {number} [_ref] of the message that carries it, while it is on its way
 * @property {boolean} [_retried]
 * @property {Base | 0} [_base] while it is on its way, and not for too long: the item as it was when it left
 * @property {Watcher} [_by] where it was made
 * @property {unknown} [_whose] the publisher's token or function at that time; none of an anonymous visitor
 */

/**
 * @typedef {object} Item
 * @property {string} _id
 * @property {Set<Watcher>} _elements that show it
 * @property {boolean} [_watched] as the server knows it
 * @property {number} _silent ref of the answer that is to say what I hold here; 0 when none is
 * @property {Counts} [_counts]
 * @property {any} [_version] of the counts, a number once there are any
 * @property {Reaction} _reaction mine, confirmed
 * @property {any} [_heldVersion] of that, a number once it is said
 * @property {Wish} [_wish]
 */

/** @param {string} id @returns {Item} */
export const newItem = (id) => ({
  _id: id,
  _elements: new Set(),
  _reaction: null,
  _silent: 0,
});

/** Where there is no item. @type {Item} */
export const NOTHING = newItem(/** @type {any} */ (undefined));

/** What I see as mine. @param {Item} item @returns {Reaction} */
export const reactionOf = (item) => (item._wish || item)._reaction;

/** What the server said, as far as that is shown yet. @param {Item} item @returns {Base} */
export const baseOf = (item) => item._wish?._base || item;

/**
 * What is shown; `known` stands in until the server has spoken.
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
 * News of an item: `counts`, `mine`, or both.
 * @param {Item} item @param {Message} message
 * @returns {boolean} whether the store went back: a restored backup
 */
export const take = (item, message) => {
  const { counts, reaction, reset } = message;
  const version = /** @type {number} */ (message.version);
  const back = reset && version < item._version;
  if (back) {
    item._heldVersion = undefined;
    if (item._wish) item._wish._base = 0; // gone
  }
  if (counts && (back || !(version <= item._version))) {
    item._version = version;
    // Pairs, because a reaction may have any name, also that of what all objects have. For the line break see `parse`.
    item._counts = Object.entries(counts).map(([kind, count]) => [kind.replace('\n', ''), count]);
  }
  if (reaction !== undefined && !(version < item._heldVersion)) {
    item._heldVersion = version;
    item._reaction = reaction;
  }
  return back;
};

/** Whether my wish arrived is not known: it is to be sent again. @param {Item} item */
export const lose = (item) => {
  if (item._wish) item._wish._ref = item._wish._base = 0;
};
