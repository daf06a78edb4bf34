/**
 * Types of `<live-reactions>`, the element that Tallycast's script defines.
 *
 *     <script src="https://tally.example/embed.js" data-site="blog" async></script>
 *     <live-reactions item="posts/42"></live-reactions>
 *
 * Counts that a page already knows, from `GET /v1/items`, go inside as `<data>` elements. They are what is read without
 * JavaScript, and what the buttons show until the server has spoken:
 *
 *     <live-reactions item="posts/42">
 *       <data data-kind="like" value="1204">1,204 likes</data>
 *       <data data-kind="dislike" value="31">31 dislikes</data>
 *     </live-reactions>
 *
 * With two rules in the page's own style sheet nothing moves when the buttons come:
 *
 *     live-reactions { min-height: 3.3rem; vertical-align: top }
 *     live-reactions:not(:defined) { display: inline-flex; align-items: center; gap: 1em }
 *
 * How it looks is up to the page:
 *
 *     live-reactions { color: …; font: …; --tallycast-like: …; --tallycast-dislike: …; --tallycast-line: …;
 *                      --tallycast-surface: …; --tallycast-size: …; --tallycast-font: … }
 *     live-reactions::part(like)   a button; also (dislike), and any other reaction's name
 *     live-reactions::part(count)  a number; also (bar): the share of likes
 *     live-reactions:state(stale)  what is shown may be out of date
 */

/**
 * One number for each reaction of the site, `like` and `dislike` unless it has others. In the order of the site's
 * `kinds`, except that an object has keys which are numbers first.
 */
export type Counts = Record<string, number>;

/** What the person at this browser holds; null for nothing. */
export type Reaction = string | null;

/**
 * `live`: changes show at once. `polling`: they show within 15 s, because neither WebSocket nor event stream gets through,
 * or because another tab has the event stream.
 * `closed`: the server does not want this page, and is not asked again.
 */
export type Status = 'connecting' | 'live' | 'polling' | 'reconnecting' | 'closed';

/** Attributes, all optional, all may change at any time. */
export interface LiveReactionsAttributes {
  /**
   * What is reacted to. Without it: the page's `<link rel=canonical>`, else its origin and path, and of its query what
   * `params` names. An id over 256 bytes is sent as `sha256:` and the hex digest. Browsers compute that in secure contexts
   * only (https, localhost): on a plain http page such an id is refused, and the console says so.
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
  /** How numbers are written; the language of the page otherwise. Words stay English: see `text-…`. */
  lang?: string;
  /** `compact` (1.2K, cut and never rounded up) or `full` (1,234). */
  format?: 'compact' | 'full';
  /** Nobody can vote here. */
  readonly?: boolean | '';
  /** Leaves out the number of dislikes and the bar, not the button. */
  'hide-dislikes'?: boolean | '';
  'label-like'?: string;
  'label-dislike'?: string;
  /** The label of any other reaction of the site: `label-love`, for one. Text or emoji. */
  [label: `label-${string}`]: string | undefined;
  /**
   * What is said, in the page's language: `text-group` names the buttons together ("Reactions"); `text-vote` ("Your
   * vote: *.", with the label in place of the star) and `text-none` follow a vote; `text-offline`, `text-rate_limited`,
   * `text-unauthorized`, `text-forbidden` or any other of the contract's error codes say why there is none, and
   * `text-error` stands for those that have no text of their own.
   */
  [text: `text-${string}`]: string | undefined;
}

export type LiveReactionsElement = HTMLElement;

/** All bubble, through shadow roots too. */
export interface LiveReactionsEvents {
  /** The server's counts of an item are shown for the first time, and what the person holds there. */
  'tallycast:ready': CustomEvent<{ item: string; counts: Counts; reaction: Reaction }>;
  /** What is shown changed, for whatever reason. */
  'tallycast:change': CustomEvent<{ item: string; counts: Counts; reaction: Reaction }>;
  /** A vote made on this element is stored. */
  'tallycast:react': CustomEvent<{ item: string; reaction: Reaction }>;
  /**
   * Something was refused: `code` is one of the contract's error codes. `retry_after`: seconds. A vote
   * that was `rate_limited` is kept and sent again after that, or after five minutes if that is sooner. `offline`: a vote is not confirmed yet,
   * after 8 s or because the connection is lost; it is kept and sent again. Also `forbidden`, once, when there will be no other attempt
   * to connect: the server does not want this page, or its address does not parse. The console has the reason.
   */
  'tallycast:error': CustomEvent<{ item: string; code: string; message?: string; retry_after?: number }>;
  'tallycast:status': CustomEvent<{ item: string; status: Status }>;
}

export interface Tallycast {
  /**
   * Votes are those of the publisher's user from here on: a token, or a function that is asked for one, and again when
   * the server no longer accepts the last. What this browser's anonymous visitor voted becomes theirs where the server
   * can do that. `null` goes back to the anonymous visitor. It goes to every server that an element of the page names.
   * A vote of the user before that was not sent yet is undone, with the error `unavailable`.
   */
  auth(token: string | (() => string | Promise<string>) | null): void;
}

declare global {
  interface Window {
    /** There once the script has run: `customElements.whenDefined('live-reactions')` tells. */
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
