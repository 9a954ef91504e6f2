// The page of a kind: all its objects, live, to be filtered.
import { useMemo } from 'preact/hooks';
import { ApiError, Kind, Row, path } from './api';
import { t } from './i18n';
import { useTable } from './live';
import { objectAt, refine } from './route';
import { Table } from './table';
import { Failure } from './ui';

export function ListPage({ kind, namespace, query }: { kind: Kind; namespace: string; query: URLSearchParams }) {
  const filter = query.get('q') ?? '';
  const label = query.get('label') ?? '';
  const field = query.get('field') ?? '';
  const wide = query.get('wide') === '1';
  const within = kind.namespaced ? namespace : '';
  const asked = (label ? `&labelSelector=${encodeURIComponent(label)}` : '') + (field ? `&fieldSelector=${encodeURIComponent(field)}` : '');
  const table = useTable(path(kind, within), asked);
  const rows = useMemo(() => matching([...table.rows.values()], filter), [table.round, filter]);
  return (
    <div class="page fill">
      <header class="bar">
        <h1>{kind.kind}</h1>
        <span class="count" role="status">
          {rows.length === table.rows.size ? rows.length : `${rows.length} ${t('of')} ${table.rows.size}`} {t('rows')}
          {!table.isComplete && ` · ${t('loading')}`}
          {table.isComplete && !table.error && <span class={table.isLive ? 'pill good' : 'pill wait'}>{table.isLive ? t('live') : t('notLive')}</span>}
        </span>
        <span class="grow" />
        <input id="filter" type="search" aria-label={t('filter')} placeholder={`${t('filter')}  /`} value={filter} onInput={(event) => refine({ q: event.currentTarget.value })} />
        <input type="search" aria-label={t('labelSelector')} placeholder={`${t('labelSelector')}: app=web`} defaultValue={label} onChange={(event) => refine({ label: event.currentTarget.value })} />
        <label class="check"><input type="checkbox" checked={wide} onChange={(event) => refine({ wide: event.currentTarget.checked ? '1' : undefined })} />{t('wide')}</label>
      </header>
      {table.error && <Failure error={explained(table.error, kind)} />}
      {table.isComplete && !table.error && !rows.length && <p class="empty">{t('nothing')}</p>}
      {table.columns.length > 0 && (
        <Table columns={table.columns} rows={rows} label={kind.kind} wide={wide} showNamespace={kind.namespaced && !within} href={(row) => objectAt(kind, row.object?.metadata?.namespace, row.object?.metadata?.name ?? '')} />
      )}
    </div>
  );
}

function explained(error: ApiError, kind: Kind): ApiError {
  return error.message ? error : new ApiError(error.code, error.reason, `${kind.plural}: ${error.reason}`);
}

/** The rows in which every word stands somewhere. */
function matching(rows: Row[], filter: string): Row[] {
  const wanted = filter.toLowerCase().split(/\s+/).filter(Boolean);
  if (!wanted.length) return rows;
  return rows.filter((row) => {
    const meta = row.object?.metadata;
    const labels = Object.entries(meta?.labels ?? {}).map(([key, value]) => `${key}=${value}`);
    const text = [meta?.namespace ?? '', ...row.cells.map(String), ...labels].join('\n').toLowerCase();
    return wanted.every((word) => text.includes(word));
  });
}

/** Every kind that the server serves. */
export function KindsPage({ kinds, query, listAt }: { kinds: Kind[]; query: URLSearchParams; listAt: (kind: Kind) => string }) {
  const filter = (query.get('q') ?? '').toLowerCase();
  const groups = useMemo(() => {
    const found = new Map<string, Kind[]>();
    for (const kind of kinds) {
      if (filter && !`${kind.kind} ${kind.plural} ${kind.group} ${kind.short.join(' ')}`.toLowerCase().includes(filter)) continue;
      found.set(kind.group, [...(found.get(kind.group) ?? []), kind]);
    }
    return [...found].sort(([a], [b]) => a.localeCompare(b));
  }, [kinds, filter]);
  return (
    <div class="page">
      <header class="bar">
        <h1>{t('allKinds')}</h1>
        <span class="grow" />
        <input id="filter" type="search" aria-label={t('filter')} placeholder={`${t('filter')}  /`} value={query.get('q') ?? ''} onInput={(event) => refine({ q: event.currentTarget.value })} />
      </header>
      <div class="groups">
        {groups.map(([group, members]) => (
          <section class="card" key={group}>
            <h2>{group || 'core'}</h2>
            <ul class="plain">
              {members.map((kind) => (
                <li key={kind.plural}><a href={listAt(kind)}>{kind.kind}</a> <span class="faint">{kind.version} {kind.short.join(' ')}</span></li>
              ))}
            </ul>
          </section>
        ))}
      </div>
    </div>
  );
}
