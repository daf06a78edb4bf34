/**
 * The article's own few lines: its connection in the corner, and this server's address in the snippet. Loaded
 * before the widget, to hear its first event.
 */
import { showStatus } from './status.js';

showStatus(document.getElementById('link'));
document.getElementById('origin').textContent = new URL('.', location.href).href.replace(/\/$/, '');
