/**
 * The demo page's own few lines: says in its corner whether the counts are live, and puts this server's address
 * into the snippet. Knows the widget by its public events only, and is loaded before it, to hear the first one.
 */
const WORDS = { connecting: 'Connecting', live: 'Live', reconnecting: 'Reconnecting', closed: 'Not connected' };

const link = document.getElementById('link');

document.addEventListener('tallycast:status', ({ detail }) => {
  link.dataset.status = detail.status;
  link.textContent = WORDS[detail.status];
});

document.getElementById('origin').textContent = location.origin;
