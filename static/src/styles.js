/** The one style sheet of all elements: adopted, not a `<style>`, which a page's style-src would block. */
import css from './styles.css';

/** @type {CSSStyleSheet | undefined} */
let made;

export const sheet = () => {
  if (!made) {
    made = new CSSStyleSheet();
    made.replaceSync(css);
  }
  return made;
};
