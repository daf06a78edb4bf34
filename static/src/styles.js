/** The style sheet of all elements: adopted, not a `<style>`, which a page's style-src would block. */
import css from './styles.css';

/** @type {unknown} */
let last;
/** @type {CSSStyleSheet} */
let made;

/** The sheet for one page: a document refuses another's. @param {any} page its window */
export const sheet = (page) => {
  if (last !== (last = page)) {
    made = new page.CSSStyleSheet();
    made.replaceSync(css);
  }
  return made;
};
