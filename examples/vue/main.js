/** Vue 3: `isCustomElement` keeps Vue from resolving the element as a component. */
import { createApp, ref } from 'vue/dist/vue.esm-bundler.js';

const POSTS = ['examples/vue/1', 'examples/vue/2'];

const app = createApp({
  setup() {
    const post = ref(0);
    const last = ref('nothing yet');
    return { POSTS, post, last, onReact: (event) => (last.value = event.detail.reaction ?? 'none') };
  },
  template: `
    <main>
      <h1>Vue</h1>
      <button @click="post = 1 - post">Other post</button>
      <p>
        <live-reactions :item="POSTS[post]" label-like="Good" @tallycast:react="onReact"></live-reactions>
        <output>{{ last }}</output>
      </p>
    </main>`,
});
app.config.compilerOptions.isCustomElement = (tag) => tag === 'live-reactions';
app.mount('#app');
