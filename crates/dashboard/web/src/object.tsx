// The page of one object.
import { useMemo, useState } from 'preact/hooks';
import { ApiError, Kind, Obj, core, json, merge, path, request } from './api';
import { t } from './i18n';
import { useAsked, useObject, useTable } from './live';
import { Logs } from './logs';
import { NodePicture } from './node';
import { EventList } from './overview';
import { Owners } from './owners';
import { go, listAt, refine } from './route';
import { Shell } from './shell';
import { Act, Failure, Section, age, tone, useTick } from './ui';
import { YamlTab } from './yaml';

type Tab = 'summary' | 'yaml' | 'events' | 'owners' | 'logs' | 'terminal';

export function ObjectPage({ kind, kinds, namespace, name, tab }: { kind: Kind; kinds: Kind[]; namespace: string; name: string; tab: string }) {
  useTick(5000);
  const live = useObject(path(kind, namespace), name);
  const object = live.object;
  if (!object) return <div class="page"><h1>{name}</h1>{live.error ? <Failure error={live.error} /> : <p class="empty">{t('loading')}</p>}</div>;
  const isPod = kind.group === '' && kind.plural === 'pods';
  const selects = !isPod && !!object.spec?.selector?.matchLabels && kind.namespaced;
  const tabs: Tab[] = ['summary', 'yaml', 'events'];
  if (kind.namespaced) tabs.push('owners');
  if (isPod || selects) tabs.push('logs');
  if (isPod) tabs.push('terminal');
  const shown = tabs.find((one) => one === tab) ?? 'summary';
  return (
    <div class="page fill">
      <header class="bar">
        <h1><a href={listAt(kind)}>{kind.kind}</a> <bdi>{name}</bdi></h1>
        {namespace && <span class="faint">{namespace}</span>}
        <span class="grow" />
        <Actions kind={kind} object={object} />
      </header>
      {live.isGone && <div class="failure" role="status">{t('gone')}</div>}
      {live.error && <Failure error={live.error} />}
      <nav class="tabs" aria-label={name}>
        {tabs.map((one) => (
          <button key={one} type="button" aria-current={one === shown ? 'page' : undefined} onClick={() => refine({ tab: one === 'summary' ? undefined : one })}>{t(one)}</button>
        ))}
      </nav>
      <div class="tab">
        {shown === 'summary' && <Summary kind={kind} object={object} />}
        {shown === 'yaml' && <YamlTab at={path(kind, namespace, name)} version={object.metadata.resourceVersion ?? ''} isWritable={kind.verbs.includes('patch')} kind={kind} />}
        {shown === 'events' && <ObjectEvents object={object} />}
        {shown === 'owners' && <Owners kinds={kinds} kind={kind} object={object} />}
        {shown === 'logs' && (isPod ? <PodLogs pod={object} /> : <WorkloadLogs object={object} />)}
        {shown === 'terminal' && <Shell pod={object} />}
      </div>
    </div>
  );
}

function PodLogs({ pod }: { pod: Obj }) {
  const pods = useMemo(() => [pod], [pod.metadata.uid]);
  return <Logs pods={pods} />;
}

function WorkloadLogs({ object }: { object: Obj }) {
  const labels: Record<string, string> = object.spec.selector.matchLabels;
  const selector = Object.entries(labels).map(([key, value]) => `${key}=${value}`).join(',');
  const pods = useAsked(async (signal) => {
    const at = path(core('pods'), object.metadata.namespace);
    return (await json<{ items: Obj[] }>(`${at}?labelSelector=${encodeURIComponent(selector)}`, undefined, signal)).items;
  }, `${object.metadata.uid} ${object.metadata.resourceVersion}`);
  if (pods.error) return <Failure error={pods.error} />;
  return pods.value ? <Logs pods={pods.value} /> : <p class="empty">{t('loading')}</p>;
}

function Pairs({ title, pairs }: { title: string; pairs?: Record<string, string> }) {
  const entries = Object.entries(pairs ?? {});
  if (!entries.length) return null;
  return (
    <Section title={title}>
      <dl class="pairs">{entries.map(([key, value]) => <div key={key}><dt>{key}</dt><dd>{value}</dd></div>)}</dl>
    </Section>
  );
}

function Summary({ kind, object }: { kind: Kind; object: Obj }) {
  const { metadata, status } = object;
  const conditions: any[] = Array.isArray(status?.conditions) ? status.conditions : [];
  const isPod = kind.group === '' && kind.plural === 'pods';
  return (
    <div class="cards wide">
      <Section title={t('summary')}>
        <dl class="pairs">
          <div><dt>{t('created')}</dt><dd>{metadata.creationTimestamp} ({age(metadata.creationTimestamp)})</dd></div>
          {status?.phase && <div><dt>{t('status')}</dt><dd><span class={`pill ${tone(String(status.phase))}`}>{String(status.phase)}</span> {String(status.message ?? '')}</dd></div>}
          {typeof object.spec?.replicas === 'number' && <div><dt>{t('replicas')}</dt><dd data-figure="replicas">{status?.readyReplicas ?? 0} / {object.spec.replicas} {t('ready')}</dd></div>}
          {isPod && <div><dt>{t('nodes')}</dt><dd>{object.spec?.nodeName ?? ''} {status?.podIP ?? ''}</dd></div>}
        </dl>
      </Section>
      {kind.group === '' && kind.plural === 'nodes' && <NodePicture node={object} />}
      {isPod && <Containers pod={object} />}
      {conditions.length > 0 && <Conditions conditions={conditions} />}
      <Pairs title={t('labels')} pairs={metadata.labels} />
      <Pairs title={t('annotations')} pairs={metadata.annotations} />
    </div>
  );
}

function Conditions({ conditions }: { conditions: any[] }) {
  return (
    <Section title={t('conditions')}>
      <div class="scroll" tabIndex={0} role="region" aria-label={t('conditions')}>
        <table class="small">
          <thead><tr><th scope="col">{t('type')}</th><th scope="col">{t('status')}</th><th scope="col">{t('reason')}</th><th scope="col">{t('message')}</th><th scope="col">{t('age')}</th></tr></thead>
          <tbody>
            {conditions.map((one, i) => (
              <tr key={i}><td>{String(one.type ?? '')}</td><td>{String(one.status ?? '')}</td><td>{String(one.reason ?? '')}</td><td class="wrap">{String(one.message ?? '')}</td><td>{age(one.lastTransitionTime)}</td></tr>
            ))}
          </tbody>
        </table>
      </div>
    </Section>
  );
}

function stateOf(status: any): string {
  const state = status?.state ?? {};
  if (state.waiting) return state.waiting.reason ?? 'Waiting';
  if (state.terminated) return `${state.terminated.reason ?? 'Terminated'} (${state.terminated.exitCode})`;
  return state.running ? 'Running' : '';
}

function Containers({ pod }: { pod: Obj }) {
  const statuses: any[] = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  const specs: any[] = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];
  return (
    <Section title={t('containers')}>
      <div class="scroll" tabIndex={0} role="region" aria-label={t('containers')}>
        <table class="small">
          <thead><tr><th scope="col">{t('name')}</th><th scope="col">{t('status')}</th><th scope="col">{t('restarts')}</th><th scope="col">{t('image')}</th></tr></thead>
          <tbody>
            {specs.map((container) => {
              const status = statuses.find((one) => one.name === container.name);
              const state = stateOf(status);
              return <tr key={container.name}><td>{container.name}</td><td class={tone(state)}>{state}</td><td>{status?.restartCount ?? 0}</td><td class="wrap">{container.image}</td></tr>;
            })}
          </tbody>
        </table>
      </div>
    </Section>
  );
}

function ObjectEvents({ object }: { object: Obj }) {
  const selector = encodeURIComponent(`involvedObject.uid=${object.metadata.uid}`);
  const events = useTable(path(core('events'), object.metadata.namespace), `&fieldSelector=${selector}`);
  if (events.error) return <Failure error={events.error} />;
  if (!events.isComplete) return <p class="empty">{t('loading')}</p>;
  return <EventList rows={[...events.rows.values()]} columns={events.columns} />;
}

type Asked = 'delete' | 'restart' | 'scale' | 'cordon' | 'uncordon';

function Actions({ kind, object }: { kind: Kind; object: Obj }) {
  const [asked, setAsked] = useState<Asked>();
  const [typed, setTyped] = useState('');
  const at = path(kind, object.metadata.namespace, object.metadata.name);
  const canRestart = kind.group === 'apps' && !!object.spec?.template && kind.plural !== 'replicasets';
  const isNode = kind.group === '' && kind.plural === 'nodes';
  const all: Asked[] = [];
  if (canRestart) all.push('restart');
  if (kind.subresources.includes('scale')) all.push('scale');
  if (isNode) all.push(object.spec?.unschedulable ? 'uncordon' : 'cordon');
  if (kind.verbs.includes('delete')) all.push('delete');
  const begin = (what: Asked) => {
    setTyped(what === 'scale' ? String(object.spec?.replicas ?? 1) : '');
    setAsked(what);
  };
  return (
    <>
      {all.map((what) => <button key={what} type="button" class={what === 'delete' ? 'danger' : ''} onClick={() => begin(what)}>{t(what)}</button>)}
      {asked && (
        <Act
          title={`${t(asked)}: ${kind.kind} ${object.metadata.name}`}
          label={t(asked)}
          danger={asked === 'delete'}
          isReady={asked === 'delete' ? typed === object.metadata.name : asked === 'scale' ? /^\d{1,6}$/.test(typed) : true}
          run={() => carryOut(asked, at, object, typed)}
          onClose={(done) => {
            setAsked(undefined);
            if (done && asked === 'delete') go(listAt(kind));
          }}
        >
          {asked === 'delete' && <label>{t('confirmDelete')}: <code>{object.metadata.name}</code><input value={typed} autocomplete="off" onInput={(event) => setTyped(event.currentTarget.value)} /></label>}
          {asked === 'scale' && <label>{t('replicas')}<input inputMode="numeric" value={typed} onInput={(event) => setTyped(event.currentTarget.value)} /></label>}
        </Act>
      )}
    </>
  );
}

async function carryOut(what: Asked, at: string, object: Obj, typed: string): Promise<unknown> {
  switch (what) {
    case 'delete': {
      // The object that was looked at, not another one of its name.
      const options = { apiVersion: 'v1', kind: 'DeleteOptions', propagationPolicy: 'Background', preconditions: { uid: object.metadata.uid } };
      return request('DELETE', at, { type: 'application/json', body: JSON.stringify(options) });
    }
    case 'restart': {
      const annotations = { 'kubectl.kubernetes.io/restartedAt': new Date().toISOString().replace(/\.\d+Z$/, 'Z') };
      return merge(`${at}?fieldManager=knarr-dashboard`, { spec: { template: { metadata: { annotations } } } });
    }
    case 'scale':
      return merge(`${at}/scale?fieldManager=knarr-dashboard`, { spec: { replicas: Number(typed) } });
    case 'cordon':
    case 'uncordon':
      return merge(`${at}?fieldManager=knarr-dashboard`, { spec: { unschedulable: what === 'cordon' ? true : null } });
    default:
      throw new ApiError(0, '', what);
  }
}
