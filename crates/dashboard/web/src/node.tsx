// What is on a node: its pods packed as a picture, and how much of it is asked for and used.
import { ApiError, Obj, core, json, path } from './api';
import { t } from './i18n';
import { useAsked } from './live';
import { objectAt } from './route';
import { Failure, Meter, Section, bytes, cores, quantity, tone } from './ui';

const FIGURES_MS = 10000;
const WIDTH = 1000;
const HEIGHT = 360;

interface Box {
  pod: Obj;
  size: number;
  x: number;
  y: number;
  w: number;
  h: number;
}

function requested(pod: Obj, resource: string): number {
  return (pod.spec?.containers ?? []).reduce((sum: number, container: any) => sum + quantity(container.resources?.requests?.[resource]), 0);
}

/** Halves the list by size and the place along its longer side, until each pod has its own. */
export function packed(pods: { pod: Obj; size: number }[], x: number, y: number, w: number, h: number): Box[] {
  if (!pods.length) return [];
  if (pods.length === 1) return [{ ...pods[0], x, y, w, h }];
  const sum = pods.reduce((total, one) => total + one.size, 0);
  let first = pods[0].size;
  let cut = 1;
  while (cut < pods.length - 1 && first + pods[cut].size <= sum / 2) first += pods[cut++].size;
  const share = first / sum;
  const [a, b] = [pods.slice(0, cut), pods.slice(cut)];
  if (w >= h) return [...packed(a, x, y, w * share, h), ...packed(b, x + w * share, y, w * (1 - share), h)];
  return [...packed(a, x, y, w, h * share), ...packed(b, x, y + h * share, w, h * (1 - share))];
}

export function NodePicture({ node }: { node: Obj }) {
  const name = node.metadata.name;
  const pods = useAsked(async (signal) => {
    const selector = encodeURIComponent(`spec.nodeName=${name}`);
    return (await json<{ items: Obj[] }>(`${path(core('pods'))}?fieldSelector=${selector}&limit=1000`, undefined, signal)).items;
  }, name, FIGURES_MS);
  const used = useAsked((signal) => json<any>(`/apis/metrics.k8s.io/v1beta1/nodes/${encodeURIComponent(name)}`, undefined, signal), name, FIGURES_MS);
  const allocatable = node.status?.allocatable ?? {};
  const active = (pods.value ?? []).filter((pod) => !/^(Succeeded|Failed)$/.test(pod.status?.phase));
  return (
    <>
      <Section title={`${t('cpu')} / ${t('memory')}`}>
        {(['cpu', 'memory'] as const).map((resource) => {
          const whole = quantity(allocatable[resource]);
          const show = resource === 'cpu' ? cores : bytes;
          const asked = active.reduce((sum, pod) => sum + requested(pod, resource), 0);
          const now = quantity(used.value?.usage?.[resource]);
          return (
            <div key={resource}>
              <Meter label={`${t(resource)} · ${t('requested')}`} part={asked} whole={whole} text={`${show(asked)} ${t('of')} ${show(whole)}`} />
              {used.value && <Meter label={`${t(resource)} · ${t('used')}`} part={now} whole={whole} text={`${show(now)} ${t('of')} ${show(whole)}`} />}
            </div>
          );
        })}
        {used.error && !used.value && (used.error.code === 403 ? <Failure error={used.error as ApiError} /> : <p class="faint">{t('noMetrics')}</p>)}
      </Section>
      <Section title={t('packed')} isWide>
        {pods.error && !pods.value ? <Failure error={pods.error} /> : <Picture pods={active} whole={quantity(allocatable.memory)} />}
      </Section>
    </>
  );
}

function Picture({ pods, whole }: { pods: Obj[]; whole: number }) {
  // A pod that asks for nothing is still to be seen.
  const least = Math.max(1, whole / 400);
  const sized = pods.map((pod) => ({ pod, size: Math.max(least, requested(pod, 'memory')) })).sort((a, b) => b.size - a.size);
  if (!sized.length) return <p class="empty">{t('nothing')}</p>;
  return (
    <svg class="packed" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="group" aria-label={t('packed')}>
      {packed(sized, 0, 0, WIDTH, HEIGHT).map(({ pod, x, y, w, h }) => {
        const { name, namespace, uid } = pod.metadata;
        const fits = Math.floor((w - 8) / 7.5);
        return (
          <a key={uid} href={objectAt({ group: '', version: 'v1', plural: 'pods' }, namespace, name)}>
            <title>{`${namespace}/${name} · ${bytes(requested(pod, 'memory'))}`}</title>
            <rect x={x + 1} y={y + 1} width={Math.max(1, w - 2)} height={Math.max(1, h - 2)} rx="3" class={`pod ${tone(pod.status?.phase ?? '')}`} />
            {h > 20 && fits > 3 && <text x={x + 6} y={y + 16}>{name.length > fits ? `${name.slice(0, fits - 1)}…` : name}</text>}
          </a>
        );
      })}
    </svg>
  );
}
