/** The first transport: a WebSocket with JSON, the default subprotocol. Does not depend on its messages. */
import { parse } from './http.js';

/** @param {import('./http.js').Addresses} urlOf */
export const socket = (urlOf) => (/** @type {import('./connection.js').Emit} */ emit) => {
  const websocket = new WebSocket(urlOf('/ws').replace('http', 'ws'));
  // The page's policy blocks it. Other browsers throw; Chromium would fire an `error` and never a `close`.
  if (websocket.readyState > 1) throw websocket;
  // Its events have the fields of a transport's own messages.
  websocket.onopen = websocket.onclose = /** @type {any} */ (emit);
  websocket.onmessage = ({ data }) => emit(parse(data));
  return websocket;
};
