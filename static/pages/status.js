/**
 * Says in an element whether the counts on the page are live. Knows the widget by its public events only.
 *
 * @param {HTMLElement} element gets the word, and the state as `data-status`
 */
const WORDS = { connecting: 'Connecting', live: 'Live', reconnecting: 'Reconnecting', closed: 'Not connected' };

export function showStatus(element) {
  document.addEventListener('tallycast:status', ({ detail }) => {
    element.dataset.status = detail.status;
    element.textContent = WORDS[detail.status] ?? detail.status;
  });
}
