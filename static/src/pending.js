/**
 * Pending reactions that outlive the page: the last one for each item, until the server has answered. Owns their key in
 * localStorage, which all tabs share. Does not depend on how they are sent.
 */
import { load, save } from './storage.js';

/** @typedef {import('./store.js').Reaction} Reaction */

/** By item. @param {string} key @returns {Record<string, Reaction>} */
export const loadPending = (key) => ({ ...load(key) });

/** @param {string} key @param {string} item @param {Reaction} [reaction] undefined removes it */
export const savePending = (key, item, reaction) => save(key, { ...loadPending(key), [item]: reaction });

/**
 * Remove it, unless another tab has set another reaction since.
 * @param {string} key @param {string} item @param {Reaction} reaction
 */
export const dropPending = (key, item, reaction) => loadPending(key)[item] === reaction && savePending(key, item);
