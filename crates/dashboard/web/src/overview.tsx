// The first page: how the cluster is.
import { useEffect, useRef, useState } from 'preact/hooks';
import { Column, Kind, Obj, Row, core, json, path } from './api';
import { t } from './i18n';
import { useAsked, useTable } from './live';
import { listAt, objectAt } from './route';
import { Failure, Meter, Section, age, bytes, cores, quantity, tone, useTick } from './ui';

const FIGURES_MS = 5000;
const PLOT_POINTS = 60;
const EVENTS = 25;

function cell(columns: Column[], row: Row, name: string): string {
  const at = columns.findIndex((column) => column.name === name);
  return at < 0 ? '' : String(row.cells[at] ?? '');
}

function counted(columns: Column[], rows: Iterable<Row>, name: string): [string, number][] {
  const counts = new Map<string, number>();
  for (const row of rows) {
    const text = cell(columns, row, name);
    counts.set(text, (counts.get(text) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]);
}

export function Overview({ namespace, find }: { namespace: string; find: (group: string, plural: string) => Kind | undefined }) {
  useTick(5000);
  const nodes = useTable(path(core('nodes', false)));
  const pods = useTable(path(core('pods'), namespace));
  const events = useTable(path(core('events'), namespace));
  const nodeStates = counted(nodes.columns, nodes.rows.values(), 'Status');
  const podStates = counted(pods.columns, pods.rows.values(), 'Status');
  const ready = nodeStates.filter(([state]) => state.split(',')[0] === 'Ready').reduce((sum, [, n]) => sum + n, 0);
  const nodeKind = find('', 'nodes');
  const podKind = find('', 'pods');
  return (
    <div class="page">
      <h1>{t('overview')}</h1>
      <div class="cards">
        <Section title={t('nodes')}>
          {nodes.error ? <Failure error={nodes.error} /> : <p class="figure" data-figure="nodes">{ready}<small> / {nodes.rows.size} {t('ready')}</small></p>}
          <ul class="plain">
            {[...nodes.rows.values()].slice(0, 12).map((row) => (
              <li key={row.object.metadata.uid}><a href={to(nodeKind, row)}>{row.object.metadata.name}</a> <span class={`pill ${tone(cell(nodes.columns, row, 'Status'))}`}>{cell(nodes.columns, row, 'Status')}</span></li>
            ))}
          </ul>
        </Section>
        <Section title={t('pods')}>
          {pods.error ? <Failure error={pods.error} /> : <p class="figure" data-figure="pods">{podKind ? <a href={listAt(podKind)}>{pods.rows.size}</a> : pods.rows.size}</p>}
          <Shares parts={podStates} />
        </Section>
        <Usage />
      </div>
      <Section title={t('recentEvents')}>
        {events.error ? <Failure error={events.error} /> : <EventList rows={[...events.rows.values()]} columns={events.columns} />}
      </Section>
    </div>
  );
}

function to(kind: Kind | undefined, row: Row): string {
  return kind ? objectAt(kind, row.object.metadata.namespace, row.object.metadata.name) : '#/';
}

function Shares({ parts }: { parts: [string, number][] }) {
  const sum = parts.reduce((total, [, n]) => total + n, 0);
  let at = 0;
  return (
    <>
      <svg class="shares" viewBox="0 0 100 6" preserveAspectRatio="none" role="img" aria-label={parts.map(([name, n]) => `${name} ${n}`).join(', ') || t('nothing')}>
        {parts.map(([name, n]) => {
          const x = at;
          at += (n / sum) * 100;
          return <rect key={name} x={x} width={(n / sum) * 100} height="6" class={`share ${tone(name)}`} />;
        })}
      </svg>
      <ul class="plain">{parts.map(([name, n]) => <li key={name}><span class={`pill ${tone(name)}`}>{name}</span> {n}</li>)}</ul>
    </>
  );
}

interface Figures {
  cpu: number;
  memory: number;
  cpuAll: number;
  memoryAll: number;
}

/** What the nodes use, as metrics.k8s.io says, with the last minutes as a plot. */
function Usage() {
  const asked = useAsked<Figures>(async (signal) => {
    const [used, nodes] = await Promise.all([
      json<any>('/apis/metrics.k8s.io/v1beta1/nodes', undefined, signal),
      json<any>('/api/v1/nodes', undefined, signal),
    ]);
    const sum = (list: any[], of: (item: any) => unknown) => list.reduce((total, item) => total + quantity(of(item)), 0);
    return {
      cpu: sum(used.items ?? [], (item) => item.usage?.cpu),
      memory: sum(used.items ?? [], (item) => item.usage?.memory),
      cpuAll: sum(nodes.items ?? [], (node: Obj) => node.status?.capacity?.cpu),
      memoryAll: sum(nodes.items ?? [], (node: Obj) => node.status?.capacity?.memory),
    };
  }, 'usage', FIGURES_MS);
  const history = useRef<Figures[]>([]);
  const [, drawn] = useState(0);
  useEffect(() => {
    if (!asked.value) return;
    history.current = [...history.current, asked.value].slice(-PLOT_POINTS);
    drawn((n) => n + 1);
  }, [asked.value]);
  const now = asked.value;
  return (
    <Section title={`${t('cpu')} / ${t('memory')}`}>
      {!now && asked.error && (asked.error.code === 404 || asked.error.code === 503 ? <p class="empty">{t('noMetrics')}</p> : <Failure error={asked.error} />)}
      {now && (
        <>
          <Meter label={t('cpu')} part={now.cpu} whole={now.cpuAll} text={`${cores(now.cpu)} ${t('of')} ${cores(now.cpuAll)}`} />
          <Plot label={t('cpu')} values={history.current.map((f) => f.cpu / (f.cpuAll || 1))} />
          <Meter label={t('memory')} part={now.memory} whole={now.memoryAll} text={`${bytes(now.memory)} ${t('of')} ${bytes(now.memoryAll)}`} />
          <Plot label={t('memory')} values={history.current.map((f) => f.memory / (f.memoryAll || 1))} />
        </>
      )}
    </Section>
  );
}

function Plot({ label, values }: { label: string; values: number[] }) {
  const points = values.map((value, i) => `${((i + PLOT_POINTS - values.length) / (PLOT_POINTS - 1)) * 100},${30 - Math.min(1, value) * 30}`);
  return (
    <svg class="plot" viewBox="0 0 100 30" preserveAspectRatio="none" role="img" aria-label={label}>
      <polyline points={points.join(' ')} />
    </svg>
  );
}

/** The latest events first. */
export function EventList({ rows, columns }: { rows: Row[]; columns: Column[] }) {
  const seen = (row: Row) => row.object.metadata.creationTimestamp ?? '';
  const latest = rows.slice().sort((a, b) => (seen(b) < seen(a) ? -1 : 1)).slice(0, EVENTS);
  if (!latest.length) return <p class="empty">{t('nothing')}</p>;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={t('events')}>
      <table class="small">
        <thead><tr><th scope="col">{t('age')}</th><th scope="col">{t('type')}</th><th scope="col">{t('reason')}</th><th scope="col">{t('name')}</th><th scope="col">{t('message')}</th></tr></thead>
        <tbody>
          {latest.map((row) => (
            <tr key={row.object.metadata.uid}>
              <td title={seen(row)}>{age(seen(row))}</td>
              <td class={tone(cell(columns, row, 'Type'))}>{cell(columns, row, 'Type')}</td>
              <td>{cell(columns, row, 'Reason')}</td>
              <td>{cell(columns, row, 'Object')}</td>
              <td class="wrap">{cell(columns, row, 'Message')}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
