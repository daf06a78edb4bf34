/** The first way: a WebSocket, with JSON, as for all who name no subprotocol. Must not know what is said on it. */
import { parse } from './http.js';

/** @param {import('./http.js').Addresses} at */
export const socket = (at) => (/** @type {import('./connection.js').Line} */ line) => {
  const websocket = new WebSocket(at('/ws').replace('http', 'ws'));
  // The page's policy forbids it. Other browsers throw; Chromium would fire an `error` and never a `close`.
  if (websocket.readyState > 1) throw websocket;
  // Its events are the messages that a line has for them.
  websocket.onopen = websocket.onclose = /** @type {any} */ (line);
  websocket.onmessage = ({ data }) => line(parse(data));
  return websocket;
};
