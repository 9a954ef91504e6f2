// Lists that stay as they are in the cluster: listed once, then followed by a watch, listed anew when the watch is lost.
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, Column, Obj, Row, Watch, json, request, watch } from './api';

const TABLE = 'application/json;as=Table;v=v1;g=meta.k8s.io,application/json';
const PAGE = 1000;
const AGAIN_MS = 2000;

export interface LiveTable {
  columns: Column[];
  rows: Map<string, Row>;
  /** Counts the changes: the map is changed in place. */
  round: number;
  isComplete: boolean;
  isLive: boolean;
  error?: ApiError;
}

const EMPTY: LiveTable = { columns: [], rows: new Map(), round: 0, isComplete: false, isLive: false };

function asError(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError(0, '', String(error));
}

/** The rows of a path as a Table; nothing while the path is none. */
export function useTable(path: string | null, query = ''): LiveTable {
  const [table, setTable] = useState<LiveTable>(EMPTY);
  useEffect(() => {
    setTable(EMPTY);
    if (!path) return;
    const follower = new TableFollower(path, query, setTable);
    follower.start();
    return () => follower.stop();
  }, [path, query]);
  return table;
}

class TableFollower {
  private state: LiveTable = { ...EMPTY, rows: new Map() };
  private abort = new AbortController();
  private watch?: Watch;
  private frame = 0;
  private timer = 0;

  constructor(
    private path: string,
    private query: string,
    private set: (table: LiveTable) => void,
  ) {}

  start() {
    this.list().catch((error) => {
      if (this.abort.signal.aborted) return;
      this.show({ error: asError(error), isComplete: true, isLive: false });
      if (!(error instanceof ApiError) || error.code !== 403) this.again();
    });
  }

  stop() {
    this.abort.abort();
    this.watch?.stop();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
  }

  private again(version?: string) {
    if (this.abort.signal.aborted) return;
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => {
      if (version === undefined) return this.start();
      this.follow(version);
      this.show({ isLive: true });
    }, AGAIN_MS);
  }

  private async list() {
    const fresh = new Map<string, Row>();
    let next = '';
    let version = '';
    let columns: Column[] = [];
    do {
      const page = next ? `&continue=${encodeURIComponent(next)}` : '';
      const table: any = await json(`${this.path}?limit=${PAGE}${this.query}${page}`, TABLE, this.abort.signal);
      columns = columns.length ? columns : (table.columnDefinitions ?? []);
      for (const row of table.rows ?? []) fresh.set(key(row.object), row);
      version = table.metadata?.resourceVersion ?? version;
      next = table.metadata?.continue ?? '';
      // The first pages are shown while the others come.
      if (this.state.rows.size <= fresh.size) this.show({ columns, rows: fresh, isComplete: !next, error: undefined });
    } while (next);
    this.show({ columns, rows: fresh, isComplete: true, isLive: true, error: undefined });
    this.follow(version);
  }

  private follow(version: string) {
    const rest = this.query.replace(/^&/, '');
    let last = version;
    this.watch = watch(`/table${this.path}${rest ? `?${rest}` : ''}`, version, {
      event: (type, table) => {
        last = table.rows?.[0]?.object?.metadata?.resourceVersion || table.metadata?.resourceVersion || last;
        if (type === 'BOOKMARK') return;
        for (const row of table.rows ?? []) {
          if (type === 'DELETED') this.state.rows.delete(key(row.object));
          else this.state.rows.set(key(row.object), row);
        }
        this.soon();
      },
      lost: (error) => {
        this.show({ isLive: false });
        // A watch ends after some minutes: the next goes on where it ended, unless the server no longer knows that.
        this.again(error ? undefined : last);
      },
    });
  }

  /** Many changes at once are one picture. */
  private soon() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.show({});
    });
  }

  private show(change: Partial<LiveTable>) {
    if (this.abort.signal.aborted) return;
    this.state = { ...this.state, ...change, round: this.state.round + 1 };
    this.set(this.state);
  }
}

function key(object: Obj): string {
  return object?.metadata?.uid ?? `${object?.metadata?.namespace}/${object?.metadata?.name}`;
}

export interface LiveObject {
  object?: Obj;
  error?: ApiError;
  isGone: boolean;
}

/** One object as it is now. */
export function useObject(collection: string | null, name: string): LiveObject {
  const [live, setLive] = useState<LiveObject>({ isGone: false });
  useEffect(() => {
    setLive({ isGone: false });
    if (!collection) return;
    const abort = new AbortController();
    let watching: Watch | undefined;
    let timer = 0;
    const again = () => {
      if (!abort.signal.aborted) timer = window.setTimeout(start, AGAIN_MS);
    };
    const start = async () => {
      try {
        const object = await json<Obj>(`${collection}/${encodeURIComponent(name)}`, undefined, abort.signal);
        setLive({ object, isGone: false });
        const selector = encodeURIComponent(`metadata.name=${name}`);
        watching = watch(`${collection}?fieldSelector=${selector}`, object.metadata.resourceVersion ?? '', {
          event: (type, changed) => {
            if (type === 'DELETED') setLive((old) => ({ ...old, isGone: true }));
            else if (type !== 'BOOKMARK') setLive({ object: changed, isGone: false });
          },
          lost: again,
        });
      } catch (error) {
        if (abort.signal.aborted) return;
        const said = asError(error);
        setLive((old) => (said.code === 404 && old.object ? { ...old, isGone: true } : { ...old, error: said }));
        if (said.code !== 403 && said.code !== 404) again();
      }
    };
    start();
    return () => {
      abort.abort();
      watching?.stop();
      clearTimeout(timer);
    };
  }, [collection, name]);
  return live;
}

/** What `load` returns, asked for again every `every_ms` while the page is looked at. */
export function useAsked<T>(load: (signal: AbortSignal) => Promise<T>, key: string, every_ms = 0): { value?: T; error?: ApiError } {
  const [state, setState] = useState<{ value?: T; error?: ApiError }>({});
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const abort = new AbortController();
    let timer = 0;
    const run = async () => {
      if (document.visibilityState === 'visible') {
        try {
          const value = await latest.current(abort.signal);
          if (!abort.signal.aborted) setState({ value });
        } catch (error) {
          if (!abort.signal.aborted) setState((old) => ({ value: old.value, error: asError(error) }));
        }
      }
      if (every_ms && !abort.signal.aborted) timer = window.setTimeout(run, every_ms);
    };
    setState({});
    run();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [key, every_ms]);
  return state;
}

/** Whether the identity may do something; the reason where it may not. */
export async function may(verb: string, group: string, resource: string, namespace: string, name: string, subresource = ''): Promise<{ allowed: boolean; reason: string }> {
  const body = JSON.stringify({
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SelfSubjectAccessReview',
    spec: { resourceAttributes: { verb, group, resource, namespace, name, subresource } },
  });
  const review = await (await request('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', { type: 'application/json', body })).json();
  return { allowed: !!review.status?.allowed, reason: review.status?.reason ?? '' };
}
