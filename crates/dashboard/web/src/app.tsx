// The page's frame: who is where, the menu, the keys.
import { render } from 'preact';
import { useCallback, useEffect, useMemo, useState } from 'preact/hooks';
import { ApiError, Kind, core, discover, json, path } from './api';
import { Language, currentLanguage, setLanguage, t } from './i18n';
import { KindsPage, ListPage } from './list';
import { useAsked, useTable } from './live';
import { ObjectPage } from './object';
import { Overview } from './overview';
import { go, listAt, to, useRoute } from './route';
import { isTyping } from './table';
import { Dialog, Failure } from './ui';

/** The kinds of the menu and their letters after `g`. */
const FAVOURITES: [string, string, string][] = [
  ['', 'pods', 'p'], ['apps', 'deployments', 'd'], ['apps', 'statefulsets', 't'], ['apps', 'daemonsets', 'm'], ['batch', 'jobs', 'j'],
  ['batch', 'cronjobs', 'r'], ['', 'services', 's'], ['networking.k8s.io', 'ingresses', 'i'], ['', 'configmaps', 'c'], ['', 'secrets', 'x'],
  ['', 'persistentvolumeclaims', 'v'], ['', 'nodes', 'n'], ['', 'namespaces', 'w'], ['', 'events', 'e'],
];
const PATIENCE_MS = 1500;

type Theme = 'auto' | 'light' | 'dark';

function showTheme(theme: Theme) {
  document.documentElement.dataset.theme = theme;
}

function kept<T extends string>(name: string, fallback: T): T {
  return (localStorage.getItem(name) as T | null) ?? fallback;
}

function useKeys(kinds: Kind[], help: () => void) {
  useEffect(() => {
    let since = 0;
    const pressed = (event: KeyboardEvent) => {
      if (event.key === 'Escape' && document.activeElement instanceof HTMLInputElement) document.activeElement.blur();
      if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
      const isGoing = event.timeStamp - since < PATIENCE_MS && since > 0;
      since = 0;
      if (isGoing) {
        const found = FAVOURITES.find(([, , letter]) => letter === event.key);
        const kind = found && kinds.find((one) => one.group === found[0] && one.plural === found[1]);
        if (kind) go(listAt(kind));
        else if (event.key === 'o') go('#/');
        else if (event.key === 'a') go('#/kinds');
        else return;
        event.preventDefault();
      } else if (event.key === 'g') since = event.timeStamp;
      else if (event.key === '?') help();
      else if (event.key === 'u') history.back();
      else if (event.key === '/') {
        document.getElementById('filter')?.focus();
        event.preventDefault();
      }
    };
    window.addEventListener('keydown', pressed);
    return () => window.removeEventListener('keydown', pressed);
  }, [kinds, help]);
}

function App() {
  const route = useRoute();
  const [language, setLanguageState] = useState<Language>(currentLanguage());
  const [theme, setTheme] = useState<Theme>(kept<Theme>('theme', 'auto'));
  const [namespace, setNamespace] = useState(sessionStorage.getItem('namespace') ?? '');
  const [hasHelp, setHelp] = useState(false);
  const [hasMenu, setMenu] = useState(false);
  const discovery = useAsked(() => discover(), 'discovery', 60000);
  const kinds = useMemo(() => discovery.value ?? [], [JSON.stringify(discovery.value ?? [])]);
  const find = useCallback((group: string, plural: string) => kinds.find((kind) => kind.group === group && kind.plural === plural), [kinds]);
  const help = useCallback(() => setHelp(true), []);
  useKeys(kinds, help);
  useEffect(() => showTheme(theme), [theme]);
  useEffect(() => setMenu(false), [route]);
  const choose = (next: string) => {
    sessionStorage.setItem('namespace', next);
    setNamespace(next);
  };
  return (
    <div class="frame" key={language}>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById('main')?.focus(); }}>{t('skip')}</a>
      <header class="top">
        <button type="button" class="menu-button" aria-label={t('menu')} aria-expanded={hasMenu} onClick={() => setMenu(!hasMenu)}>☰</button>
        <a class="brand" href="#/"><img src="/assets/icon.svg" alt="" width="22" height="22" />knarr</a>
        <Namespaces value={namespace} set={choose} />
        <span class="grow" />
        <Version />
        <select class="theme" aria-label={t('theme')} value={theme} onChange={(event) => { const next = event.currentTarget.value as Theme; localStorage.setItem('theme', next); setTheme(next); }}>
          {(['auto', 'light', 'dark'] as const).map((one) => <option key={one} value={one}>{t(one)}</option>)}
        </select>
        <select class="language" aria-label={t('language')} value={language} onChange={(event) => { const next = event.currentTarget.value as Language; setLanguage(next); setLanguageState(next); }}>
          <option value="en">English</option>
          <option value="zh">中文</option>
        </select>
        <button type="button" class="help-button" aria-label={t('help')} onClick={help}>?</button>
      </header>
      <nav class={hasMenu ? 'side open' : 'side'} aria-label={t('menu')}>
        <Item href="#/" isHere={route.parts.length === 0}>{t('overview')}</Item>
        {FAVOURITES.map(([group, plural]) => {
          const kind = find(group, plural);
          return kind && <Item key={`${group}/${plural}`} href={listAt(kind)} isHere={(route.parts[1] ?? '') === (group || 'core') && route.parts[3] === plural}>{kind.kind}</Item>;
        })}
        <Item href="#/kinds" isHere={route.parts[0] === 'kinds'}>{t('allKinds')}</Item>
      </nav>
      <main id="main" tabIndex={-1}>
        {discovery.error && !discovery.value && <Failure error={discovery.error} />}
        {discovery.value && <Page parts={route.parts} query={route.query} kinds={kinds} namespace={namespace} find={find} />}
      </main>
      {hasHelp && <Help kinds={kinds} onClose={() => setHelp(false)} />}
    </div>
  );
}

function Item({ href, isHere, children }: { href: string; isHere: boolean; children: string }) {
  return <a href={href} aria-current={isHere ? 'page' : undefined}>{children}</a>;
}

function Page({ parts, query, kinds, namespace, find }: { parts: string[]; query: URLSearchParams; kinds: Kind[]; namespace: string; find: (group: string, plural: string) => Kind | undefined }) {
  const [what, group, version, plural, within, name] = parts;
  useEffect(() => {
    document.title = [name ?? plural, 'knarr'].filter(Boolean).join(' · ');
  }, [name, plural]);
  if (!what) return <Overview namespace={namespace} find={find} />;
  if (what === 'kinds') return <KindsPage kinds={kinds} query={query} listAt={listAt} />;
  const kind = kinds.find((one) => (one.group || 'core') === group && one.plural === plural);
  if (!kind || (what !== 'list' && what !== 'object')) return <div class="page"><Failure error={new ApiError(404, 'NotFound', `${t('unknownKind')}: ${parts.slice(1, 4).join('/')}`)} /></div>;
  const asked = { ...kind, version };
  const seen = kind.version === version ? kind : asked;
  if (what === 'list') return <ListPage key={to([group, plural])} kind={seen} namespace={namespace} query={query} />;
  return <ObjectPage key={to(parts)} kind={seen} kinds={kinds} namespace={within === '-' ? '' : (within ?? '')} name={name ?? ''} tab={query.get('tab') ?? ''} />;
}

/** A list where namespaces may be listed, else a field. */
function Namespaces({ value, set }: { value: string; set: (namespace: string) => void }) {
  const table = useTable(path(core('namespaces', false)));
  const names = [...table.rows.values()].map((row) => row.object.metadata.name).sort();
  if (table.error) return <input class="namespace" aria-label={t('namespace')} placeholder={t('namespace')} title={table.error.message} defaultValue={value} onChange={(event) => set(event.currentTarget.value.trim())} />;
  if (value && table.isComplete && !names.includes(value)) names.unshift(value);
  return (
    <select class="namespace" aria-label={t('namespace')} value={value} onChange={(event) => set(event.currentTarget.value)}>
      <option value="">{t('allNamespaces')}</option>
      {names.map((name) => <option key={name} value={name}>{name}</option>)}
    </select>
  );
}

function Version() {
  const version = useAsked((signal) => json<any>('/version', undefined, signal), 'version');
  return <span class="version">{String(version.value?.gitVersion ?? '')}</span>;
}

function Help({ kinds, onClose }: { kinds: Kind[]; onClose: () => void }) {
  const served = FAVOURITES.flatMap(([group, plural, letter]) => {
    const kind = kinds.find((one) => one.group === group && one.plural === plural);
    return kind ? [[`g ${letter}`, `${t('keyGo')}: ${kind.kind}`]] : [];
  });
  const keys = [['/', t('keyFilter')], ['j  k', t('keyMove')], ['Enter', t('keyOpen')], ['u', t('keyUp')], ['?', t('keyHelp')], ['g o', `${t('keyGo')}: ${t('overview')}`], ['g a', `${t('keyGo')}: ${t('allKinds')}`], ...served];
  return (
    <Dialog title={t('help')} onClose={onClose}>
      <dl class="keys">{keys.map(([key, what]) => <div key={key}><dt><kbd>{key}</kbd></dt><dd>{what}</dd></div>)}</dl>
      <div class="buttons"><button type="button" class="primary" onClick={onClose}>{t('close')}</button></div>
      <p class="faint"><a href="/assets/licences.txt">Licences</a></p>
    </Dialog>
  );
}

setLanguage(currentLanguage());
showTheme(kept<Theme>('theme', 'auto'));
render(<App />, document.body);
