// The API server, as the dashboard's own server passes it on. What comes from here is data, never markup.

export interface Meta {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: { kind: string; name: string; uid: string; apiVersion: string; controller?: boolean }[];
}
/** Any object of the API: what is read of one is checked where it is read. */
export interface Obj {
  apiVersion?: string;
  kind?: string;
  metadata: Meta;
  spec?: any;
  status?: any;
  [field: string]: any;
}
export interface Column {
  name: string;
  type: string;
  format?: string;
  description?: string;
  priority: number;
}
export interface Row {
  cells: unknown[];
  object: Obj;
}
/** A kind that is served, out of discovery. */
export interface Kind {
  group: string;
  version: string;
  plural: string;
  kind: string;
  namespaced: boolean;
  verbs: string[];
  short: string[];
  subresources: string[];
}

/** What the API server, or the way to it, said no with. */
export class ApiError extends Error {
  constructor(
    readonly code: number,
    readonly reason: string,
    message: string,
    readonly details?: { causes?: { message?: string; field?: string; reason?: string }[] },
  ) {
    super(message);
  }
}

/**
 * The key that came with the link, kept where only this address and port read. It goes along with whatever is asked of the
 * cluster: the cookie alone is not enough, since that is sent to other ports, too.
 */
const key = takenKey();

function takenKey(): string {
  const given = /^#key=([0-9a-f]+)$/.exec(location.hash);
  if (given) {
    localStorage.setItem('key', given[1]);
    history.replaceState(null, '', location.pathname);
  }
  return localStorage.getItem('key') ?? '';
}

export async function request(method: string, path: string, options: { accept?: string; type?: string; body?: string; signal?: AbortSignal } = {}): Promise<Response> {
  const headers: Record<string, string> = { accept: options.accept ?? 'application/json', 'x-knarr-key': key };
  if (options.type) headers['content-type'] = options.type;
  const ask = () => fetch(path, { method, headers, body: options.body, signal: options.signal, redirect: 'error' });
  const failed = (error: unknown): never => {
    throw options.signal?.aborted ? error : new ApiError(0, 'Unreachable', String(error));
  };
  // A connection that was idle may be closed while it is taken for a request: what only reads is asked for again.
  const response = await (method === 'GET' ? ask().catch(() => ask()) : ask()).catch(failed);
  if (response.ok) return response;
  const text = await response.text();
  try {
    const status = JSON.parse(text);
    throw new ApiError(response.status, String(status.reason ?? ''), String(status.message ?? text), status.details);
  } catch (error) {
    if (error instanceof ApiError) throw error;
    throw new ApiError(response.status, '', text || response.statusText);
  }
}

export async function json<T = Obj>(path: string, accept?: string, signal?: AbortSignal): Promise<T> {
  return (await request('GET', path, { accept, signal })).json();
}

export function merge(path: string, patch: unknown): Promise<Response> {
  return request('PATCH', path, { type: 'application/merge-patch+json', body: JSON.stringify(patch) });
}

const e = encodeURIComponent;

/** The path of a kind's objects, in all namespaces or in one, or of one object. */
export function path(kind: { group: string; version: string; plural: string; namespaced: boolean }, namespace?: string, name?: string, sub?: string): string {
  const base = kind.group ? `/apis/${e(kind.group)}/${e(kind.version)}` : `/api/${e(kind.version)}`;
  const within = kind.namespaced && namespace ? `/namespaces/${e(namespace)}` : '';
  return `${base}${within}/${e(kind.plural)}${name ? `/${e(name)}` : ''}${sub ? `/${sub}` : ''}`;
}

export const core = (plural: string, namespaced = true) => ({ group: '', version: 'v1', plural, namespaced });
export const apps = (plural: string) => ({ group: 'apps', version: 'v1', plural, namespaced: true });

const DISCOVERY = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList';

/** Every kind that can be listed, of each group in the version that the server prefers. */
export async function discover(): Promise<Kind[]> {
  const lists = await Promise.all(['/api', '/apis'].map((at) => json<any>(at, DISCOVERY)));
  const kinds: Kind[] = [];
  for (const group of lists.flatMap((list) => list.items ?? [])) {
    const seen = new Set<string>();
    for (const version of group.versions ?? []) {
      for (const resource of version.resources ?? []) {
        if (seen.has(resource.resource) || !resource.verbs?.includes('list')) continue;
        seen.add(resource.resource);
        kinds.push({
          group: group.metadata?.name ?? '',
          version: version.version,
          plural: resource.resource,
          kind: resource.responseKind?.kind ?? resource.resource,
          namespaced: resource.scope === 'Namespaced',
          verbs: resource.verbs,
          short: resource.shortNames ?? [],
          subresources: (resource.subresources ?? []).map((sub: any) => sub.subresource),
        });
      }
    }
  }
  return kinds;
}

export function socket(path: string, protocols: string[]): WebSocket {
  const socket = new WebSocket(`ws://${location.host}${path}`, [...protocols, `key.knarr.${key}`]);
  socket.binaryType = 'arraybuffer';
  return socket;
}

export interface Watch {
  stop(): void;
}

/** Watches from `version` on, over a WebSocket: a browser allows few open requests to one host, and many of these. */
export function watch(path: string, version: string, on: { event(type: string, object: any): void; lost(error?: ApiError): void }): Watch {
  let stopped = false;
  let last = version;
  let opened = false;
  const separator = path.includes('?') ? '&' : '?';
  const live = socket(`${path}${separator}watch=true&allowWatchBookmarks=true&resourceVersion=${e(last)}`, []);
  live.onopen = () => (opened = true);
  live.onmessage = (message) => {
    if (stopped) return;
    const event = JSON.parse(message.data);
    if (event.type === 'ERROR') {
      stopped = true;
      live.close();
      on.lost(new ApiError(event.object?.code ?? 0, event.object?.reason ?? '', event.object?.message ?? ''));
    } else on.event(event.type, event.object);
  };
  live.onclose = () => {
    if (stopped) return;
    stopped = true;
    on.lost(opened ? undefined : new ApiError(0, 'Unreachable', ''));
  };
  return {
    stop() {
      stopped = true;
      live.close();
    },
  };
}
