// An object as YAML: read, edited, compared with what the server would make of it, and applied.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { ApiError, Kind, Obj, request } from './api';
import { change, diffLines, hunks, owned, together } from './diff';
import type { Editor } from './editor';
import { t } from './i18n';
import { loadEditor } from './lazy';
import { Fields, loadFields, pathAt } from './schema';
import { Failure } from './ui';

const MANAGER = 'knarr-dashboard';

/**
 * Without the record of who owns which field, which is longer than the object. Only a field of the object's own metadata
 * is that record: what users write in an annotation or in data is indented further, or belongs to another field.
 */
function withoutManagedFields(text: string): string {
  const lines = text.split('\n');
  const within = (line: string | undefined) => line !== undefined && (line === '' || line.startsWith(' '));
  let start = lines.indexOf('metadata:') + 1;
  if (start === 0) return text;
  while (within(lines[start]) && !lines[start].startsWith('  managedFields:')) start++;
  if (!within(lines[start])) return text;
  let end = start + 1;
  while (lines[end]?.startsWith('   ') || lines[end]?.startsWith('  - ')) end++;
  return [...lines.slice(0, start), ...lines.slice(end)].join('\n');
}

interface Plan {
  kind: 'apply' | 'replace';
  body: string;
  /** What the server would make of it. */
  result: string;
}

async function send(at: string, kind: Plan['kind'], body: string, dry: boolean, force: boolean): Promise<string> {
  const query = new URLSearchParams({ fieldManager: MANAGER });
  if (dry) query.set('dryRun', 'All');
  if (force && kind === 'apply') query.set('force', 'true');
  const type = kind === 'apply' ? 'application/apply-patch+yaml' : 'application/yaml';
  const asked = request(kind === 'apply' ? 'PATCH' : 'PUT', `${at}?${query}`, { accept: 'application/yaml', type, body });
  return withoutManagedFields(await (await asked.catch(fromYaml)).text());
}

/** Who asks for YAML is told of errors in YAML. */
async function fromYaml(error: unknown): Promise<never> {
  if (!(error instanceof ApiError) || error.reason || !error.message.startsWith('apiVersion:')) throw error;
  const status = (await loadEditor()).readYaml(error.message) as any;
  throw new ApiError(error.code, String(status?.reason ?? ''), String(status?.message ?? ''), status?.details);
}

/** Which fields the dashboard's earlier applies own. */
function appliedFields(object: Obj): unknown {
  const entries: any[] = (object.metadata as any).managedFields ?? [];
  return entries.find((entry) => entry.manager === MANAGER && entry.operation === 'Apply' && !entry.subresource)?.fieldsV1;
}

/** How what was typed gets to the server: what changed is applied; where something was taken away, all is replaced. */
async function planned(at: string, before: string, after: string): Promise<{ kind: Plan['kind']; body: string } | undefined> {
  const { readYaml } = await loadEditor();
  const [old, wanted] = [readYaml(before) as Obj, readYaml(after) as Obj];
  if (!wanted?.metadata || !wanted.kind || !wanted.apiVersion) throw new ApiError(0, '', `${at}: apiVersion, kind, metadata?`);
  const applied = appliedFields(old);
  delete (old.metadata as any).managedFields;
  const changed = change(old, wanted);
  if (!changed.isChanged) return undefined;
  if (changed.removes) return { kind: 'replace', body: after };
  const fields = (applied ? together(owned(applied, wanted), changed.fields) : changed.fields) as Record<string, any>;
  const { name, namespace, resourceVersion } = old.metadata;
  const body = { ...fields, apiVersion: wanted.apiVersion, kind: wanted.kind, metadata: { ...fields.metadata, name, namespace, resourceVersion } };
  return { kind: 'apply', body: JSON.stringify(body) };
}

export function YamlTab({ at, version, isWritable, kind }: { at: string; version: string; isWritable: boolean; kind: Kind }) {
  const [raw, setRaw] = useState<string>();
  const text = useMemo(() => raw && withoutManagedFields(raw), [raw]);
  const [error, setError] = useState<ApiError>();
  const [isEditing, setEditing] = useState(false);
  const [draft, setDraft] = useState<string>();
  const [plan, setPlan] = useState<Plan>();
  const [note, setNote] = useState('');
  const [busy, setBusy] = useState(false);
  const editor = useRef<Editor | undefined>(undefined);

  useEffect(() => {
    // What is being edited stays as it was begun: its version is sent along, and tells when others were faster.
    if (isEditing) return;
    const abort = new AbortController();
    request('GET', at, { accept: 'application/yaml', signal: abort.signal })
      .then((response) => response.text())
      .then(setRaw)
      .catch((failed) => fromYaml(failed).catch((told) => abort.signal.aborted || setError(told)));
    return () => abort.abort();
  }, [at, version, isEditing]);

  const attempt = async (work: () => Promise<void>) => {
    setBusy(true);
    setError(undefined);
    setNote('');
    try {
      await work();
    } catch (failed) {
      setError(failed instanceof ApiError ? failed : new ApiError(0, '', failed instanceof Error ? failed.message : String(failed)));
    }
    setBusy(false);
  };
  const review = () => attempt(async () => {
    const typed = editor.current?.text() ?? '';
    setDraft(typed);
    const way = await planned(at, raw ?? '', typed);
    if (!way) return setNote(t('noChange'));
    // A conflict is shown with the rest: it says who owns what.
    const result = await send(at, way.kind, way.body, true, false).catch(async (failed) => {
      if (!(failed instanceof ApiError) || failed.code !== 409 || !failed.details?.causes) throw failed;
      setError(failed);
      return send(at, way.kind, way.body, true, true);
    });
    setPlan({ ...way, result });
  });
  const apply = (force: boolean) => attempt(async () => {
    if (!plan) return;
    await send(at, plan.kind, plan.body, false, force);
    setPlan(undefined);
    setDraft(undefined);
    setEditing(false);
    setNote(t('done'));
  });
  const cancel = () => {
    setEditing(false);
    setPlan(undefined);
    setDraft(undefined);
    setError(undefined);
  };

  if (!text) return error ? <Failure error={error} /> : <p class="empty">{t('loading')}</p>;
  const isConflict = error?.code === 409 && !!error.details?.causes && plan?.kind === 'apply';
  return (
    <div class="yaml">
      <div class="buttons start">
        {!isEditing && isWritable && <button type="button" class="primary" onClick={() => { setNote(''); setEditing(true); }}>{t('edit')}</button>}
        {isEditing && !plan && <button type="button" class="primary" disabled={busy} onClick={review}>{t('review')}</button>}
        {plan && !isConflict && <button type="button" class="primary" disabled={busy} onClick={() => apply(false)}>{t('apply')}</button>}
        {plan && isConflict && <button type="button" class="danger" disabled={busy} onClick={() => apply(true)}>{t('force')}</button>}
        {plan && <button type="button" onClick={() => { setPlan(undefined); setError(undefined); }}>{t('back')}</button>}
        {isEditing && <button type="button" onClick={cancel}>{t('cancel')}</button>}
        {note && <span class="pill good" role="status">{note}</span>}
      </div>
      {error && <Failure error={error} />}
      {isConflict && <Conflicts error={error} />}
      {plan ? <Difference plan={plan} before={text} /> : <Source key={`${isEditing}`} text={isEditing ? (draft ?? text) : text} isReadOnly={!isEditing} kind={kind} onOpen={(opened) => (editor.current = opened)} />}
    </div>
  );
}

function Conflicts({ error }: { error: ApiError }) {
  return (
    <section aria-label={t('conflict')}>
      <h3>{t('conflict')}</h3>
      <ul class="plain conflicts">{error.details?.causes?.map((cause, i) => <li key={i}><code>{cause.field}</code> {cause.message}</li>)}</ul>
    </section>
  );
}

function Difference({ plan, before }: { plan: Plan; before: string }) {
  const quiet = (text: string) => text.split('\n').filter((line) => !/^ {2}(resourceVersion|generation):/.test(line)).join('\n');
  const lines = hunks(diffLines(quiet(before), quiet(plan.result)));
  return (
    <section aria-label={t('review')}>
      <p class="faint">{plan.kind === 'apply' ? t('applies') : t('replaces')}</p>
      {!lines.length && <p class="empty">{t('noChange')}</p>}
      <pre class="diff" tabIndex={0}>
        {lines.map((line, i) => (line === null ? <span key={i} class="skip">⋯{'\n'}</span> : <span key={i} class={line.mark === '+' ? 'added' : line.mark === '-' ? 'removed' : ''}>{`${line.mark} ${line.text}\n`}</span>))}
      </pre>
    </section>
  );
}

function Source({ text, isReadOnly, kind, onOpen }: { text: string; isReadOnly: boolean; kind: Kind; onOpen: (editor: Editor | undefined) => void }) {
  const at = useRef<HTMLDivElement>(null);
  useEffect(() => {
    let opened: Editor | undefined;
    let left = false;
    loadEditor().then(({ openEditor }) => {
      if (left || !at.current) return;
      // The description is large: it is asked for with the first word that is typed, and a server without one is no fault.
      let fields: Promise<Fields> | undefined;
      opened = openEditor(at.current, text, t('yaml'), isReadOnly, async (before, prefix) => {
        fields ??= loadFields(kind.group, kind.version, kind.kind).catch((): Fields => () => []);
        return (await fields)(pathAt(before, prefix));
      });
      onOpen(opened);
      if (!isReadOnly) opened.focus();
    });
    return () => {
      left = true;
      onOpen(undefined);
      opened?.destroy();
    };
  }, [text, isReadOnly]);
  return <div class="source" ref={at} />;
}
