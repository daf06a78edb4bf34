/** React 19 passes attributes as they are; a handler of a custom event is `on` and its name. */
import { useState } from 'react';
import { createRoot } from 'react-dom/client';
import type { Counts } from '../../static/live-reactions';

/** In the order of the site: an object sorts keys that are numbers. */
const KINDS = ['like', 'dislike'];
const POSTS = ['examples/react/1', 'examples/react/2'];

/** `counts`: from `GET /v1/items`, for a page rendered on the server; optional. */
function Reactions({ item, counts }: { item: string; counts?: Counts }) {
  const [last, setLast] = useState('nothing yet');
  return (
    <p>
      <live-reactions
        item={item}
        label-like="Good"
        ontallycast:react={({ detail }) => setLast(detail.reaction ?? 'none')}
      >
        {counts &&
          KINDS.map((kind) => (
            <data key={kind} data-kind={kind} value={counts[kind]}>
              {counts[kind]} {kind}
            </data>
          ))}
      </live-reactions>{' '}
      <output>{last}</output>
    </p>
  );
}

function App() {
  const [post, setPost] = useState(0);
  return (
    <main>
      <h1>React</h1>
      <button onClick={() => setPost(1 - post)}>Other post</button>
      <Reactions item={POSTS[post]} />
      <Reactions item="examples/react/rendered" counts={{ like: 0, dislike: 0 }} />
    </main>
  );
}

createRoot(document.getElementById('root')!).render(<App />);
