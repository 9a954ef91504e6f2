// What fields an object may have, out of the API server's own description of its kinds.
import { json } from './api';

export interface Field {
  name: string;
  type: string;
  text: string;
  isRequired: boolean;
}

type Schema = Record<string, any>;

const PREFIX = '#/components/schemas/';

/** Knows the fields below a path of keys, for one kind; of every list its items. */
export type Fields = (path: string[]) => Field[];

export async function loadFields(group: string, version: string, kind: string, signal?: AbortSignal): Promise<Fields> {
  const at = group ? `apis/${encodeURIComponent(group)}/${encodeURIComponent(version)}` : `api/${encodeURIComponent(version)}`;
  const document = await json<any>(`/openapi/v3/${at}`, undefined, signal);
  const schemas: Record<string, Schema> = document.components?.schemas ?? {};
  const isIt = (one: any) => one.group === group && one.version === version && one.kind === kind;
  const root = Object.values(schemas).find((schema) => schema['x-kubernetes-group-version-kind']?.some(isIt));
  return (path) => {
    let schema = root && resolved(schemas, root);
    for (const key of path) schema = schema && below(schemas, schema, key);
    return schema ? listed(schemas, schema) : [];
  };
}

/** Behind references, and through lists to their items. */
function resolved(schemas: Record<string, Schema>, schema: Schema): Schema | undefined {
  let at: Schema | undefined = schema;
  for (let steps = 0; at && steps < 16; steps++) {
    const reference: string | undefined = at.$ref ?? at.allOf?.[0]?.$ref;
    if (reference?.startsWith(PREFIX)) at = schemas[reference.slice(PREFIX.length)];
    else if (at.type === 'array' && at.items) at = at.items;
    else return at;
  }
  return at;
}

function below(schemas: Record<string, Schema>, schema: Schema, key: string): Schema | undefined {
  const next = Object.hasOwn(schema.properties ?? {}, key) ? schema.properties[key] : schema.additionalProperties;
  return next && typeof next === 'object' ? resolved(schemas, next) : undefined;
}

function listed(schemas: Record<string, Schema>, schema: Schema): Field[] {
  const required = new Set<string>(schema.required ?? []);
  return Object.entries<Schema>(schema.properties ?? {}).map(([name, property]) => {
    const type = property.type ?? resolved(schemas, property)?.type ?? '';
    return { name, type, text: String(property.description ?? ''), isRequired: required.has(name) };
  });
}

/**
 * The keys that lead to where something is typed: `before` are the lines above, `prefix` what stands left of the word. A
 * list may stand as far left as its key.
 */
export function pathAt(before: string[], prefix: string): string[] {
  const path: string[] = [];
  let left = prefix.length;
  let isInList = false;
  const enter = (dash: number) => {
    left = dash;
    isInList = true;
  };
  if (prefix.includes('-')) enter(prefix.indexOf('-'));
  for (let i = before.length - 1; i >= 0 && (left > 0 || isInList); i--) {
    const match = /^(\s*)((?:- )*)"?([^\s"#][^":]*)"?:(?:\s|$)/.exec(before[i]);
    if (!match) continue;
    const dash = match[1].length;
    const at = dash + match[2].length;
    if (match[2] && at === left && !isInList) enter(dash);
    else if (at < left || (isInList && !match[2] && at === left)) {
      path.unshift(match[3]);
      isInList = false;
      if (match[2]) enter(dash);
      else left = at;
    }
  }
  return path;
}
