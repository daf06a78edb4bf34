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
import { begin, life } from './element.js';

const NAME = 'live-reactions';

if (!customElements.get(NAME)) {
  begin();
  /** @type {any} */ (window).tallycast = { auth };
  customElements.define(
    NAME,
    class extends HTMLElement {
      _life = life(this);

      connectedCallback() {
        this._life._refresh();
      }

      disconnectedCallback() {
        this._life._refresh();
      }
    },
  );
}
