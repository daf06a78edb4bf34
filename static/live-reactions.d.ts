/**
 * Types of `<live-reactions>`, the element that Tallycast's script defines.
 *
 *     <script src="https://tally.example/embed.js" data-site="blog" async></script>
 *     <live-reactions item="posts/42"></live-reactions>
 *
 * Counts that a page already knows, from `GET /v1/items`, go inside as `<data>` elements. They are shown without
 * JavaScript, and by the buttons until the first counts from the server:
 *
 *     <live-reactions item="posts/42">
 *       <data data-kind="like" value="1204">1,204 likes</data>
 *       <data data-kind="dislike" value="31">31 dislikes</data>
 *     </live-reactions>
 *
 * With two rules in the page's own style sheet the layout does not shift when the buttons appear:
 *
 *     live-reactions { min-height: 3.3rem; vertical-align: top }
 *     live-reactions:not(:defined) { display: inline-flex; align-items: center; gap: 1em }
 *
 * The page can style it:
 *
 *     live-reactions { color: …; font: …; --tallycast-like: …; --tallycast-dislike: …; --tallycast-line: …;
 *                      --tallycast-surface: …; --tallycast-size: …; --tallycast-font: … }
 *     live-reactions::part(like)   a button; also (dislike), and any other reaction's name
 *     live-reactions::part(count)  a number; also (bar): the share of likes
 *     live-reactions:state(stale)  the counts may be out of date
 */

/**
 * One number for each reaction of the site, `like` and `dislike` unless it has others. In the order of the site's
 * `kinds`, except that an object has keys which are numbers first.
 */
export type Counts = Record<string, number>;

/** The reaction of the person at this browser; null for none. */
export type Reaction = string | null;

/**
 * `live`: changes are shown at once. `polling`: within 15 s, because WebSocket and event stream are blocked, or another tab
 * has the event stream. `closed`: the server refuses this page; there is no other attempt to connect.
 */
export type Status = 'connecting' | 'live' | 'polling' | 'reconnecting' | 'closed';

/** Attributes, all optional, all may change at any time. */
export interface LiveReactionsAttributes {
  /**
   * The item. Without it: the page's `<link rel=canonical>`, else its origin and path, and the query
   * parameters in `params`. An id over 256 bytes is sent as `sha256:` and the hex digest. Browsers compute that in secure contexts
   * only (https, localhost): on a plain http page such an id is refused, with a message in the console.
   */
  item?: string;
  /**
   * Which parameters of the page's query are part of the item, separated by spaces: with `params="p"`, `?p=1` and `?p=2` are
   * two items, in any order of the query and whatever else it has. Without it no parameter counts.
   */
  params?: string;
  /** The publisher's site on the server. Without it: `data-site` of the script, else `default`. */
  site?: string;
  /** The server's address, with its path. Without it: the folder of the script tag's `src`. */
  server?: string;
  /** Without it, or `auto`: the colours of the page around. */
  theme?: 'auto' | 'light' | 'dark';
  /** The language of numbers; the default is that of the page. Texts stay English: see `text-…`. */
  lang?: string;
  /** `compact` (1.2K, truncated) or `full` (1,234). */
  format?: 'compact' | 'full';
  /** Voting is disabled. */
  readonly?: boolean | '';
  /** Hides the number of dislikes and the bar, not the button. */
  'hide-dislikes'?: boolean | '';
  'label-like'?: string;
  'label-dislike'?: string;
  /** The label of any other reaction of the site: `label-love`, for one. Text or emoji. */
  [label: `label-${string}`]: string | undefined;
  /**
   * Texts, in the page's language: `text-group` names the buttons together ("Reactions"); `text-vote` ("Your
   * vote: *.", with the label in place of the star) and `text-none` follow a vote; `text-offline`, `text-rate_limited`,
   * `text-unauthorized`, `text-forbidden` or any other of the contract's error codes report a failure, and
   * `text-error` those without a text of their own.
   */
  [text: `text-${string}`]: string | undefined;
}

export type LiveReactionsElement = HTMLElement;

/** All bubble, and are composed. */
export interface LiveReactionsEvents {
  /** The server's counts of an item, and the person's reaction, are shown for the first time. */
  'tallycast:ready': CustomEvent<{ item: string; counts: Counts; reaction: Reaction }>;
  /** The counts or the reaction shown have changed, for any reason. */
  'tallycast:change': CustomEvent<{ item: string; counts: Counts; reaction: Reaction }>;
  /** A vote on this element is committed. */
  'tallycast:react': CustomEvent<{ item: string; reaction: Reaction }>;
  /**
   * A request was refused: `code` is one of the contract's error codes. `retry_after`: seconds. A vote
   * that was `rate_limited` is kept and sent again after that, or after five minutes if that is sooner. `offline`: a vote is not confirmed yet,
   * after 8 s or because the connection is lost; it is kept and sent again. Also `forbidden`, once, when there will be no other attempt
   * to connect: the server refuses this page, or its address is invalid. The console has the reason.
   */
  'tallycast:error': CustomEvent<{ item: string; code: string; message?: string; retry_after?: number }>;
  'tallycast:status': CustomEvent<{ item: string; status: Status }>;
}

export interface Tallycast {
  /**
   * Vote as the publisher's user from here on, with a token, or a function that returns one and is called again when the
   * server rejects the last. The votes of this browser's anonymous visitor are merged into the user's where the server
   * supports it. `null` returns to the anonymous visitor. The token is sent to every server that an element names. A vote
   * of the previous user that is not sent yet is undone, with the error `unavailable`.
   */
  auth(token: string | (() => string | Promise<string>) | null): void;
}

declare global {
  interface Window {
    /** Defined once the script has run: await `customElements.whenDefined('live-reactions')`. */
    tallycast: Tallycast;
  }
  interface HTMLElementTagNameMap {
    'live-reactions': LiveReactionsElement;
  }
  interface HTMLElementEventMap extends LiveReactionsEvents {}
  interface DocumentEventMap extends LiveReactionsEvents {}
}

// A page need not have either of these.
// @ts-ignore
declare module 'react' {
  namespace JSX {
    interface IntrinsicElements {
      // @ts-ignore
      'live-reactions': DetailedHTMLProps<HTMLAttributes<LiveReactionsElement>, LiveReactionsElement> &
        LiveReactionsAttributes & { [event: `ontallycast:${string}`]: ((event: CustomEvent<any>) => void) | undefined };
    }
  }
}
// @ts-ignore
declare module 'vue' {
  interface GlobalComponents {
    // @ts-ignore
    'live-reactions': DefineComponent<LiveReactionsAttributes>;
  }
}
