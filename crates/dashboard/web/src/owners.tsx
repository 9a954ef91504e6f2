// Who owns whom, as a drawing: from the object up to its last owner, and all that these own.
import { ApiError, Kind, Obj, json, path } from './api';
import { t } from './i18n';
import { useAsked } from './live';
import { objectAt } from './route';
import { Failure } from './ui';

/** The kinds that are looked through for what an object owns, besides its own. */
const OWNED = [
  ['apps', 'deployments'], ['apps', 'replicasets'], ['apps', 'statefulsets'], ['apps', 'daemonsets'], ['batch', 'cronjobs'],
  ['batch', 'jobs'], ['', 'services'], ['discovery.k8s.io', 'endpointslices'], ['', 'persistentvolumeclaims'], ['', 'pods'],
];
const METADATA = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1';
const LIMIT = 500;
const SHOWN = 200;

interface Node {
  kind: Kind;
  object: Obj;
  children: Node[];
}

interface Tree {
  root: Node;
  /** Why kinds are missing from the tree. */
  errors: ApiError[];
}

async function grown(kinds: Kind[], kind: Kind, object: Obj, signal: AbortSignal): Promise<Tree> {
  const namespace = object.metadata.namespace ?? '';
  const looked = kinds.filter((one) => one === kind || OWNED.some(([group, plural]) => one.group === group && one.plural === plural));
  const errors: ApiError[] = [];
  const failed = (error: unknown) => {
    errors.push(error instanceof ApiError ? error : new ApiError(0, '', String(error)));
    return { items: [] };
  };
  const lists = await Promise.all(
    looked.map(async (one) => {
      const list = await json<any>(`${path(one, namespace)}?limit=${LIMIT}`, METADATA, signal).catch(failed);
      return (list.items as Obj[]).map((item): Node => ({ kind: one, object: item, children: [] }));
    }),
  );
  const known = new Map<string, Node>();
  for (const node of lists.flat()) known.set(node.object.metadata.uid ?? '', node);
  const own = known.get(object.metadata.uid ?? '') ?? { kind, object, children: [] };
  known.set(object.metadata.uid ?? '', own);
  for (const node of known.values()) {
    for (const owner of node.object.metadata.ownerReferences ?? []) known.get(owner.uid)?.children.push(node);
  }
  let root = own;
  const passed = new Set<Node>([root]);
  for (;;) {
    const owners: Obj['metadata']['ownerReferences'] = root.object.metadata.ownerReferences ?? [];
    const owner = owners.find((one) => one.controller) ?? owners[0];
    const next = owner && known.get(owner.uid);
    if (!next || passed.has(next)) return { root, errors };
    passed.add(next);
    root = next;
  }
}

const WIDTH = 230;
const HEIGHT = 46;
const STEP_X = 270;
const STEP_Y = 58;

interface Placed {
  node: Node;
  x: number;
  y: number;
  parent?: Placed;
}

function placed(root: Node): Placed[] {
  const all: Placed[] = [];
  const seen = new Set<Node>();
  let row = 0;
  const put = (node: Node, depth: number, parent?: Placed) => {
    if (seen.has(node) || all.length >= SHOWN) return;
    seen.add(node);
    const here: Placed = { node, x: depth * STEP_X, y: row * STEP_Y, parent };
    all.push(here);
    const before = all.length;
    for (const child of node.children) put(child, depth + 1, here);
    if (all.length === before) row++;
  };
  put(root, 0);
  return all;
}

const short = (text: string) => (text.length > 30 ? `${text.slice(0, 14)}…${text.slice(-15)}` : text);

export function Owners({ kinds, kind, object }: { kinds: Kind[]; kind: Kind; object: Obj }) {
  const tree = useAsked((signal) => grown(kinds, kind, object, signal), `${object.metadata.uid} ${object.metadata.resourceVersion}`);
  if (tree.error) return <Failure error={tree.error} />;
  if (!tree.value) return <p class="empty">{t('loading')}</p>;
  const all = placed(tree.value.root);
  const width = Math.max(...all.map((one) => one.x)) + WIDTH + 2;
  const height = Math.max(...all.map((one) => one.y)) + HEIGHT + 2;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={t('owners')}>
      {tree.value.errors.map((error, i) => <Failure key={i} error={error} />)}
      <svg class="tree" width={width} height={height} viewBox={`-1 -1 ${width} ${height}`}>
        {all.map(({ x, y, parent }, i) => parent && <path key={i} class="branch" d={`M${parent.x + WIDTH},${parent.y + HEIGHT / 2}C${x - 20},${parent.y + HEIGHT / 2} ${parent.x + WIDTH + 20},${y + HEIGHT / 2} ${x},${y + HEIGHT / 2}`} />)}
        {all.map(({ node, x, y }) => {
          const { name, namespace, uid, deletionTimestamp } = node.object.metadata;
          return (
            <a key={uid} href={objectAt(node.kind, namespace, name)}>
              <g transform={`translate(${x},${y})`} class={uid === object.metadata.uid ? 'box own' : deletionTimestamp ? 'box going' : 'box'}>
                <rect width={WIDTH} height={HEIGHT} rx="6" />
                <text x="10" y="18" class="faint">{node.kind.kind}</text>
                <text x="10" y="36">{short(name)}</text>
                <title>{name}</title>
              </g>
            </a>
          );
        })}
      </svg>
    </div>
  );
}
