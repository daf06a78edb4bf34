/**
 * One item: what the server said, what the person wishes, and what is therefore shown. Owns the order of news.
 * Pure: no I/O and no clock.
 *
 * What is shown is always the server's counts plus my unconfirmed change, computed afresh; nothing is ever read
 * back from the page. From the moment a wish is on its way until its ack, the server's counts may or may not
 * contain it already, and nothing in them tells. So they wait, and the ack, which says both at once, lets them in.
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

/**
 * @typedef {object} Wish
 * @property {Reaction} _reaction a state, never a flip: sending it twice does no harm
 * @property {number} [_ref] of the message that carries it, while it is on its way
 * @property {boolean} [_retried]
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
 * @property {number} _version of the counts
 * @property {Reaction} _reaction mine, confirmed
 * @property {number} _heldVersion of that
 * @property {Wish} [_wish]
 * @property {Message[]} [_later] news that waits for an ack; none while nothing has to
 */

/** @param {string} id @returns {Item} */
export const newItem = (id) => ({
  _id: id,
  _elements: new Set(),
  _silent: 0,
  _version: -1,
  _reaction: null,
  _heldVersion: -1,
});

/** What I see as mine. @param {Item} [item] @returns {Reaction} */
export const reactionOf = (item) => (item ? (item._wish || item)._reaction : null);

/**
 * What is shown; `known` stands in until the server has spoken.
 * @param {Item | undefined} item @param {Counts} known @returns {Counts}
 */
export const countsOf = (item, known) => {
  const counts = item?._counts || known;
  const mine = reactionOf(item);
  if (!item || mine === item._reaction) return counts;
  return counts.map(([kind, count]) => [
    kind,
    kind === mine ? count + 1 : count && kind === item._reaction ? count - 1 : count,
  ]);
};

/**
 * News of an item: `counts`, `mine`, or both. Waits while my wish is on its way, unless it is the `answer` to that.
 * @param {Item} item @param {Message} message @param {boolean} [answer]
 * @returns {boolean} whether the store went back: a restored backup
 */
export const take = (item, message, answer) => {
  const { counts, reaction, reset } = message;
  const version = /** @type {number} */ (message.version);
  const back = reset && version < item._version;
  if (item._later && !back && !answer) item._later.push(message);
  else {
    if (back) {
      item._heldVersion = -1;
      item._later &&= [];
    }
    if (counts && (back || version > item._version)) {
      item._version = version;
      // Pairs, because a reaction may have any name, also that of what all objects have. For the line break see `parse`.
      item._counts = Object.entries(counts).map(([kind, count]) => [kind.replace('\n', ''), count]);
    }
    if (reaction !== undefined && version >= item._heldVersion) {
      item._heldVersion = version;
      item._reaction = reaction;
    }
  }
  return back;
};

/** The answer to `auth` or `watch` is complete and named nothing that I hold here. @param {Item} item */
export const holdNothing = (item) => {
  item._silent = 0;
  take(item, { reaction: null, version: item._heldVersion });
};

/** Let in what waited for an ack. @param {Item} item */
export const thaw = (item) => {
  const later = item._later || [];
  item._later = undefined;
  for (const message of later) take(item, message);
};

/** Whether my wish arrived is not known: it is to be sent again. @param {Item} item */
export const lose = (item) => {
  if (item._wish) item._wish._ref = 0;
  thaw(item);
};

/** My wish is fulfilled, refused or out of date. @param {Item} item */
export const settle = (item) => {
  item._wish = undefined;
  thaw(item);
};
