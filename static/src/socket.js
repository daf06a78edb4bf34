/** The first way: a WebSocket, with JSON, as for all who name no subprotocol. Must not know what is said on it. */

/** @param {string} server @param {string} query */
export const socket = (server, query) => (/** @type {import('./connection.js').Line} */ line) => {
  const websocket = new WebSocket(`${server.replace('http', 'ws')}/ws?${query}`);
  websocket.onopen = () => line({ type: 'open' });
  websocket.onmessage = ({ data }) => line(JSON.parse(data));
  websocket.onclose = ({ code }) => line({ type: 'close', code });
  return {
    /** @param {object} message */
    _send: (message) => websocket.send(JSON.stringify(message)),
    _stop: () => websocket.close(),
  };
};
