// Addresses within the page: `#/list/apps/v1/deployments?ns=a`. The part behind # is never sent to the server.
import { useEffect, useState } from 'preact/hooks';

export interface Route {
  parts: string[];
  query: URLSearchParams;
}

export function parse(hash: string): Route {
  const [path, query = ''] = hash.replace(/^#\/?/, '').split(/\?(.*)/s);
  const parts = path.split('/').filter(Boolean).map(decode);
  return { parts, query: new URLSearchParams(query) };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export function to(parts: string[], query: Record<string, string | undefined> = {}): string {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value) search.set(key, value);
  const text = search.toString();
  return `#/${parts.map(encodeURIComponent).join('/')}${text ? `?${text}` : ''}`;
}

export function go(href: string) {
  location.hash = href.slice(1);
}

/** Changes a part of the query without a step in the browser's history. */
export function refine(change: Record<string, string | undefined>) {
  const { parts, query } = parse(location.hash);
  const all: Record<string, string | undefined> = { ...Object.fromEntries(query), ...change };
  history.replaceState(null, '', to(parts, all));
  window.dispatchEvent(new HashChangeEvent('hashchange'));
}

export function useRoute(): Route {
  const [route, setRoute] = useState(() => parse(location.hash));
  useEffect(() => {
    const changed = () => setRoute(parse(location.hash));
    window.addEventListener('hashchange', changed);
    return () => window.removeEventListener('hashchange', changed);
  }, []);
  return route;
}

interface Named {
  group: string;
  version: string;
  plural: string;
}

export const listAt = (kind: Named, query: Record<string, string | undefined> = {}) =>
  to(['list', kind.group || 'core', kind.version, kind.plural], query);

export const objectAt = (kind: Named, namespace: string | undefined, name: string, tab?: string) =>
  to(['object', kind.group || 'core', kind.version, kind.plural, namespace || '-', name], { tab });
