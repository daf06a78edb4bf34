/**
 * Bundles static/src into static/embed.js.
 *
 *   node tools/widget.mjs           write it
 *   node tools/widget.mjs --check   fail when what is committed is not current, or too large
 *
 * esbuild joins the modules and shortens the names that begin with _; terser then makes of it what esbuild leaves.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { build, transform } from 'esbuild';
import { minify } from 'terser';

const OUT = 'static/embed.js';
const MOST = 6400; // bytes, gzipped: what a page may have to load; other zlibs than Node's need some bytes more
const BANNER = '// Tallycast, MIT\n';

/** Style sheets become strings, minified. */
const styles = {
  name: 'styles',
  setup(bundle) {
    bundle.onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const { code } = await transform(await readFile(path), { loader: 'css', minify: true });
      // esbuild leaves the values of custom properties, and what holds them, as they were written.
      const short = code.trim().replace(/: (?=var)/g, ':').replace(/, /g, ',').replace(' / ', '/');
      // As in the modules, a name that begins with _ is the bundle's own: its first letter will do.
      const contents = short.replace(/--_(\w)\w*/g, '--$1');
      return { contents, loader: 'text' };
    });
  },
};

const bundle = await build({
  entryPoints: ['static/src/embed.js'],
  bundle: true,
  minifySyntax: true,
  mangleProps: /^_/,
  format: 'iife',
  target: 'es2022',
  charset: 'utf8',
  tsconfigRaw: '{}', // which says "use strict" once more: the modules were checked so
  plugins: [styles],
  write: false,
});
const { code } = await minify(bundle.outputFiles[0].text, {
  ecma: 2022,
  compress: {
    unsafe: true, // String and Object are not redefined
    pure_getters: true,
    booleans_as_integers: true,
    reduce_funcs: false,
    sequences: false,
    lhs_constants: false,
  },
});
// Where there is no page, as on a server that renders one, it does nothing.
const script = BANNER + 'globalThis.document&&' + code + '\n';
const size = gzipSync(script, { level: 9 }).length;

if (process.argv.includes('--check')) {
  if ((await readFile(OUT, 'utf8')) !== script) fail(`${OUT} is not what static/src makes: run make widget`);
} else {
  await writeFile(OUT, script);
  console.log(`${OUT}: ${size} bytes gzipped, of ${MOST}`);
}
if (size > MOST) fail(`${OUT} has ${size} bytes gzipped, ${size - MOST} too many`);

function fail(message) {
  console.error(message);
  process.exit(1);
}
