/**
 * Tallycast's widget: the one script that a page loads. Registers the element and the page's one global, once,
 * however many copies of it are on the page. The bundle does nothing where there is no document: see tools/widget.mjs.
 *
 *   <script src="https://tally.example/embed.js" data-site="blog" async></script>
 *   <live-reactions item="posts/42"></live-reactions>
 */
import './view.js'; // first: the style sheet must not separate what compresses well together
import './item.js';
import { auth } from './channel.js';
import { controllerOf, start } from './element.js';

const NAME = 'live-reactions';

if (!customElements.get(NAME)) {
  start();
  /** @type {any} */ (window).tallycast = { auth };
  customElements.define(
    NAME,
    class extends HTMLElement {
      _controller = controllerOf(this);

      connectedCallback() {
        this._controller._refresh();
      }

      disconnectedCallback() {
        this._controller._refresh();
      }
    },
  );
}
