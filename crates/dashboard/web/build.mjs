// Builds dist/ out of src/: `npm ci && npm run build`. The result is kept, so that building knarr needs no node.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, mkdirSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import * as esbuild from 'esbuild';

const here = new URL('.', import.meta.url).pathname;
process.chdir(here);

const built = await esbuild.build({
  entryPoints: ['src/app.tsx', 'src/app.css', 'src/editor.ts', 'src/terminal.ts', 'src/terminal.css'],
  outdir: 'out',
  bundle: true,
  write: false,
  minify: true,
  metafile: true,
  format: 'esm',
  target: ['es2022', 'chrome110', 'firefox115', 'safari16'],
  legalComments: 'none',
  external: ['/assets/*'],
  jsx: 'automatic',
  jsxImportSource: 'preact',
  logLevel: 'warning',
});

rmSync('dist', { recursive: true, force: true });
mkdirSync('dist');
const sizes = [];
function keep(name, bytes) {
  const packed = gzipSync(bytes, { level: 9 });
  // The operating system is no part of what was built.
  packed[9] = 255;
  writeFileSync(`dist/${name}.gz`, packed);
  sizes.push(`${name} ${packed.length}`);
}
for (const file of built.outputFiles) keep(file.path.split('/').pop(), file.contents);
for (const name of ['index.html', 'icon.svg']) keep(name, readFileSync(`src/${name}`));

// The licences of what is inside: each asks for its text to go along.
const packages = new Set();
for (const input of Object.keys(built.metafile.inputs)) {
  const match = input.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//);
  if (match) packages.add(match[1]);
}
let licences = '';
for (const name of [...packages].sort()) {
  const folder = `node_modules/${name}`;
  const about = JSON.parse(readFileSync(`${folder}/package.json`, 'utf8'));
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry));
  if (!file) throw new Error(`${name} comes without a licence`);
  licences += `${name} ${about.version} (${about.license})\n\n${readFileSync(`${folder}/${file}`, 'utf8').trim()}\n\n\n`;
}
keep('licences.txt', Buffer.from(licences));

// What it was built from; a test of the crate compares.
const sources = ['build.mjs', 'package.json', 'package-lock.json', 'tsconfig.json'];
sources.push(...readdirSync('src').map((name) => `src/${name}`));
const digest = (bytes) => createHash('sha256').update(bytes).digest('hex');
const lines = sources.map((name) => `${name} ${digest(readFileSync(name))}\n`).sort();
writeFileSync('dist/sources.sha256', `${digest(lines.join(''))}\n`);
console.log(sizes.join('\n'));
