// What differs between two texts, line by line; and between two values, field by field.

export interface Line {
  mark: ' ' | '+' | '-';
  text: string;
}

/** More lines than this between the first and the last difference are shown as replaced. */
const LIMIT = 2500;

export function diffLines(before: string, after: string): Line[] {
  const a = before.replace(/\n$/, '').split('\n');
  const b = after.replace(/\n$/, '').split('\n');
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  const same = (text: string): Line => ({ mark: ' ', text });
  const middle = longest(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  return [...a.slice(0, head).map(same), ...middle, ...a.slice(a.length - tail).map(same)];
}

function longest(a: string[], b: string[]): Line[] {
  const removed = a.map((text): Line => ({ mark: '-', text }));
  const added = b.map((text): Line => ({ mark: '+', text }));
  if (!a.length || !b.length || a.length > LIMIT || b.length > LIMIT) return [...removed, ...added];
  const width = b.length + 1;
  const common = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      common[i * width + j] = a[i] === b[j] ? common[(i + 1) * width + j + 1] + 1 : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  const lines: Line[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      lines.push({ mark: ' ', text: a[i] });
      i++;
      j++;
    } else if (common[(i + 1) * width + j] >= common[i * width + j + 1]) lines.push(removed[i++]);
    else lines.push(added[j++]);
  }
  return [...lines, ...removed.slice(i), ...added.slice(j)];
}

/** The differing lines with a few around each; `null` where lines are left out. */
export function hunks(lines: Line[], around = 3): (Line | null)[] {
  const near = new Array<boolean>(lines.length).fill(false);
  lines.forEach((line, i) => {
    if (line.mark !== ' ') near.fill(true, Math.max(0, i - around), i + around + 1);
  });
  const shown: (Line | null)[] = [];
  lines.forEach((line, i) => {
    if (near[i]) shown.push(line);
    else if (shown.length && shown[shown.length - 1] !== null) shown.push(null);
  });
  return shown;
}

export interface Change {
  /** What is another than before, as far as an apply can say it. */
  fields: unknown;
  isChanged: boolean;
  /** Whether something is missing that was there: an apply cannot take away what others own. */
  removes: boolean;
}

const isMap = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value);

export function change(before: unknown, after: unknown): Change {
  if (isMap(before) && isMap(after)) {
    const fields: Record<string, unknown> = {};
    let removes = Object.keys(before).some((key) => !(key in after));
    for (const [key, value] of Object.entries(after)) {
      if (!Object.hasOwn(before, key)) Object.defineProperty(fields, key, { value, enumerable: true });
      else {
        const inner = change(before[key], value);
        if (inner.isChanged) Object.defineProperty(fields, key, { value: inner.fields, enumerable: true });
        removes ||= inner.removes;
      }
    }
    return { fields, isChanged: removes || Object.keys(fields).length > 0, removes };
  }
  if (Array.isArray(before) && Array.isArray(after)) {
    const inner = after.map((value, i) => (i < before.length ? change(before[i], value) : { fields: value, isChanged: true, removes: false }));
    const removes = after.length < before.length || inner.some((one) => one.removes);
    return { fields: after, isChanged: removes || inner.some((one) => one.isChanged), removes };
  }
  return { fields: after, isChanged: before !== after, removes: false };
}

/**
 * What of `value` an earlier apply owns (`fieldsV1`): the next apply has to say it again, or the server takes it away.
 * Lists are taken whole.
 */
export function owned(fields: unknown, value: unknown): unknown {
  if (!isMap(value) || !isMap(fields)) return value;
  const named = Object.keys(fields).filter((key) => key.startsWith('f:') && Object.hasOwn(value, key.slice(2)));
  if (!named.length && Object.keys(fields).every((key) => key === '.')) return value;
  return Object.fromEntries(named.map((key) => [key.slice(2), owned(fields[key], value[key.slice(2)])]));
}

/** Both together; where both say something, `over` holds. */
export function together(under: unknown, over: unknown): unknown {
  if (!isMap(under) || !isMap(over)) return over;
  const all = new Map(Object.entries(under));
  for (const [key, value] of Object.entries(over)) all.set(key, all.has(key) ? together(all.get(key), value) : value);
  return Object.fromEntries(all);
}
