// A table of any length: only the rows in sight are in the page.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { Column, Row } from './api';
import { t } from './i18n';
import { age, tone, useTick } from './ui';

const ROW_PX = 30;
const MORE_ROWS = 12;

export interface TableProps {
  columns: Column[];
  rows: Row[];
  label: string;
  showNamespace: boolean;
  wide: boolean;
  href: (row: Row) => string;
}

interface Shown {
  name: string;
  title?: string;
  cell: (row: Row) => string;
  order: (a: Row, b: Row) => number;
  at: number;
}

const words = new Intl.Collator('en', { numeric: true });

/** Ages are written anew as time goes by; the server's are as old as the row. */
function shownColumns(columns: Column[], showNamespace: boolean, wide: boolean): Shown[] {
  const shown: Shown[] = columns.flatMap((column, at) => {
    if (column.priority > 0 && !wide) return [];
    const isAge = column.name === 'Age' || column.name === 'Last Seen';
    const since = (row: Row) => row.object?.metadata?.creationTimestamp ?? '';
    const text = (row: Row) => (row.cells[at] === null || row.cells[at] === undefined ? '' : String(row.cells[at]));
    const cell = (row: Row) => (column.name === 'Age' && since(row) ? age(since(row)) : text(row));
    const order = isAge
      ? (a: Row, b: Row) => words.compare(since(b), since(a))
      : (a: Row, b: Row) => words.compare(text(a), text(b));
    return [{ name: column.name, title: column.description, cell, order, at }];
  });
  if (showNamespace) {
    const cell = (row: Row) => row.object?.metadata?.namespace ?? '';
    shown.unshift({ name: t('namespace'), cell, order: (a, b) => words.compare(cell(a), cell(b)), at: -1 });
  }
  return shown;
}

/** Shares of the width by how long the texts are, from a sample. */
function widths(shown: Shown[], rows: Row[]): number[] {
  const step = Math.max(1, Math.floor(rows.length / 100));
  return shown.map((column) => {
    let longest = column.name.length + 2;
    for (let i = 0; i < rows.length; i += step) longest = Math.max(longest, column.cell(rows[i]).length + 2);
    return Math.min(longest, 48);
  });
}

export function Table({ columns, rows, label, showNamespace, wide, href }: TableProps) {
  useTick(5000);
  const [sort, setSort] = useState<{ name: string; down: boolean }>({ name: '', down: false });
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(600);
  const [cursor, setCursor] = useState(-1);
  const at = useRef<HTMLDivElement>(null);
  const shown = useMemo(() => shownColumns(columns, showNamespace, wide), [columns, showNamespace, wide]);
  const sorted = useMemo(() => {
    const column = shown.find((column) => column.name === sort.name);
    const list = rows.slice();
    if (column) list.sort(column.order);
    if (sort.down) list.reverse();
    return list;
  }, [rows, shown, sort]);
  const shares = useMemo(() => widths(shown, rows), [shown, rows.length > 0, Math.floor(rows.length / 500)]);
  const sum = shares.reduce((a, b) => a + b, 0);

  useLayoutEffect(() => {
    const box = at.current;
    if (!box) return;
    const measure = () => setHeight(box.clientHeight);
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(box);
    return () => observer.disconnect();
  }, []);
  useCursor(sorted.length, setCursor, at, (row) => {
    location.hash = href(sorted[row]).slice(1);
  });

  const first = Math.max(0, Math.floor(top / ROW_PX) - MORE_ROWS);
  const last = Math.min(sorted.length, Math.ceil((top + height) / ROW_PX) + MORE_ROWS);
  const press = (name: string) => setSort((old) => (old.name === name ? (old.down ? { name: '', down: false } : { name, down: true }) : { name, down: false }));
  return (
    <div class="table" ref={at} onScroll={(event) => setTop(event.currentTarget.scrollTop)} tabIndex={0} role="region" aria-label={label}>
      <table aria-rowcount={sorted.length + 1} aria-label={label} style={{ minWidth: `${sum * 0.55}rem` }}>
        <colgroup>{shares.map((share, i) => <col key={i} style={{ width: `${(share / sum) * 100}%` }} />)}</colgroup>
        <thead>
          <tr aria-rowindex={1}>
            {shown.map((column) => {
              const isBy = sort.name === column.name;
              return (
                <th key={column.name} scope="col" aria-sort={isBy ? (sort.down ? 'descending' : 'ascending') : 'none'} title={column.title}>
                  <button type="button" onClick={() => press(column.name)}>{column.name}{isBy ? (sort.down ? ' ↓' : ' ↑') : ''}</button>
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>
          {first > 0 && <tr class="gap" aria-hidden="true" style={{ height: `${first * ROW_PX}px` }} />}
          {sorted.slice(first, last).map((row, i) => (
            <tr key={row.object?.metadata?.uid ?? first + i} aria-rowindex={first + i + 2} class={first + i === cursor ? 'current' : ''} data-row={first + i}>
              {shown.map((column) => {
                const text = column.cell(row);
                if (column.at === 0) return <td key={column.name} title={text}><a href={href(row)}>{text}</a></td>;
                return <td key={column.name} title={text} class={tone(text)}>{text}</td>;
              })}
            </tr>
          ))}
          {last < sorted.length && <tr class="gap" aria-hidden="true" style={{ height: `${(sorted.length - last) * ROW_PX}px` }} />}
        </tbody>
      </table>
    </div>
  );
}

/** `j` and `k` go from row to row, Enter opens one. */
function useCursor(count: number, set: (row: number) => void, box: { current: HTMLDivElement | null }, open: (row: number) => void) {
  // Keys come faster than pictures: where the cursor is does not wait for one.
  const at = useRef(-1);
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      const cursor = at.current;
      if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
      if (event.key === 'Enter' && cursor >= 0 && cursor < count && !(event.target instanceof HTMLAnchorElement) && !(event.target instanceof HTMLButtonElement)) open(cursor);
      if (event.key !== 'j' && event.key !== 'k') return;
      const next = Math.min(count - 1, Math.max(0, cursor + (event.key === 'j' ? 1 : -1)));
      at.current = next;
      set(next);
      const seen = box.current;
      if (!seen) return;
      if (next * ROW_PX < seen.scrollTop) seen.scrollTop = next * ROW_PX;
      else if ((next + 3) * ROW_PX > seen.scrollTop + seen.clientHeight) seen.scrollTop = (next + 3) * ROW_PX - seen.clientHeight;
    };
    window.addEventListener('keydown', pressed);
    return () => window.removeEventListener('keydown', pressed);
  });
}

/** Whether a key is meant for a field, and not for the page. */
export function isTyping(event: KeyboardEvent): boolean {
  const at = event.target as HTMLElement;
  return at.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName) || !!at.closest?.('.xterm, .cm-editor');
}
