/** The first transport: a WebSocket with JSON, the default subprotocol. Does not depend on its messages. */
import { parse } from './http.js';

/** @param {import('./http.js').Addresses} at */
export const socket = (at) => (/** @type {import('./connection.js').Line} */ line) => {
  const websocket = new WebSocket(at('/ws').replace('http', 'ws'));
  // The page's policy blocks it. Other browsers throw; Chromium would fire an `error` and never a `close`.
  if (websocket.readyState > 1) throw websocket;
  // Its events have the fields of a transport's own messages.
  websocket.onopen = websocket.onclose = /** @type {any} */ (line);
  websocket.onmessage = ({ data }) => line(parse(data));
  return websocket;
};
