// The logs of one pod or of many, in one stream ordered by time.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { ApiError, Obj, core, path, request, socket } from './api';
import { t } from './i18n';
import { Failure } from './ui';

const LINE_PX = 18;
const KEPT_LINES = 20000;
/** What is longer is cut off: a line is to be looked at. */
const LINE_CHARS = 8192;
const TAIL = 500;
const MORE_LINES = 20;
const PODS = 20;

interface LogLine {
  at: string;
  from: number;
  text: string;
}

/** Colours and the like, which terminals understand and this page does not. */
const ESCAPES = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])/g;

/** Cuts a stream of bytes into lines with their times. */
class Cutter {
  private rest = '';
  private decoder = new TextDecoder();

  constructor(private from: number) {}

  take(bytes: Uint8Array): LogLine[] {
    const lines = (this.rest + this.decoder.decode(bytes, { stream: true })).split('\n');
    this.rest = (lines.pop() ?? '').slice(0, LINE_CHARS);
    return lines.map((line) => this.line(line));
  }

  end(): LogLine[] {
    const line = this.rest;
    this.rest = '';
    return line ? [this.line(line)] : [];
  }

  private line(line: string): LogLine {
    const space = line.indexOf(' ');
    return { at: line.slice(0, space), from: this.from, text: line.slice(space + 1, LINE_CHARS).replace(ESCAPES, '').replace(/\r/g, '') };
  }
}

interface Source {
  pod: Obj;
  container: string;
}

function useLines(sources: Source[], follow: boolean, previous: boolean): { lines: LogLine[]; round: number; errors: ApiError[] } {
  const [state, setState] = useState<{ lines: LogLine[]; round: number; errors: ApiError[] }>({ lines: [], round: 0, errors: [] });
  const key = sources.map(({ pod, container }) => `${pod.metadata.uid}/${container}`).join(' ');
  useEffect(() => {
    const abort = new AbortController();
    const sockets: WebSocket[] = [];
    let lines: LogLine[] = [];
    let errors: ApiError[] = [];
    let frame = 0;
    const soon = () => {
      if (frame || abort.signal.aborted) return;
      frame = requestAnimationFrame(() => {
        frame = 0;
        setState((old) => ({ lines, errors, round: old.round + 1 }));
      });
    };
    const add = (fresh: LogLine[]) => {
      if (!fresh.length) return;
      const inOrder = lines.length === 0 || fresh[0].at >= lines[lines.length - 1].at;
      lines = lines.concat(fresh);
      if (!inOrder || sources.length > 1) lines.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
      if (lines.length > KEPT_LINES) lines = lines.slice(-KEPT_LINES);
      soon();
    };
    const failed = (error: unknown) => {
      if (abort.signal.aborted) return;
      errors = [...errors, error instanceof ApiError ? error : new ApiError(0, '', String(error))];
      soon();
    };
    setState((old) => ({ lines: [], errors: [], round: old.round + 1 }));
    sources.forEach(({ pod, container }, from) => {
      const query = new URLSearchParams({ container, timestamps: 'true', tailLines: String(TAIL) });
      const at = path(core('pods'), pod.metadata.namespace, pod.metadata.name, 'log');
      const cutter = new Cutter(from);
      const whole = () => {
        if (previous) query.set('previous', 'true');
        return request('GET', `${at}?${query}`, { signal: abort.signal, accept: '*/*' })
          .then(async (response) => add([...cutter.take(new Uint8Array(await response.arrayBuffer())), ...cutter.end()]))
          .catch(failed);
      };
      if (!follow || previous) return void whole();
      let opened = false;
      const live = socket(`${at}?${query}&follow=true`, ['binary.k8s.io']);
      sockets.push(live);
      live.onopen = () => (opened = true);
      live.onmessage = (message) => add(cutter.take(new Uint8Array(message.data)));
      live.onclose = () => {
        if (abort.signal.aborted) return;
        if (opened) add(cutter.end());
        // A browser does not say why a WebSocket was refused: the same is asked for without one.
        else whole();
      };
    });
    return () => {
      abort.abort();
      cancelAnimationFrame(frame);
      for (const live of sockets) live.close();
    };
  }, [key, follow, previous]);
  return state;
}

function containersOf(pod: Obj): string[] {
  const spec = pod.spec ?? {};
  return [...(spec.containers ?? []), ...(spec.initContainers ?? []), ...(spec.ephemeralContainers ?? [])].map((container: any) => String(container.name));
}

export function Logs({ pods }: { pods: Obj[] }) {
  const [container, setContainer] = useState('');
  const [follow, setFollow] = useState(true);
  const [previous, setPrevious] = useState(false);
  const [search, setSearch] = useState('');
  const names = useMemo(() => [...new Set(pods.flatMap(containersOf))], [pods]);
  const chosen = names.includes(container) ? container : '';
  const sources = pods.slice(0, PODS).flatMap((pod) => {
    const own = containersOf(pod);
    if (chosen) return own.includes(chosen) ? [{ pod, container: chosen }] : [];
    return own.slice(0, pods.length > 1 ? 1 : (pod.spec?.containers ?? []).length || 1).map((name) => ({ pod, container: name }));
  });
  const { lines, round, errors } = useLines(sources, follow, previous);
  const wanted = search.toLowerCase();
  const shown = useMemo(() => (wanted ? lines.filter((line) => line.text.toLowerCase().includes(wanted)) : lines), [round, wanted]);
  const labels = sources.map(({ pod, container }) => (pods.length > 1 ? pod.metadata.name : sources.length > 1 ? container : ''));
  return (
    <div class="logs">
      <div class="bar">
        <label>{t('container')} <select value={chosen} onChange={(event) => setContainer(event.currentTarget.value)}><option value="">*</option>{names.map((name) => <option key={name} value={name}>{name}</option>)}</select></label>
        <label class="check"><input type="checkbox" checked={follow} onChange={(event) => setFollow(event.currentTarget.checked)} />{t('follow')}</label>
        <label class="check"><input type="checkbox" checked={previous} onChange={(event) => setPrevious(event.currentTarget.checked)} />{t('previous')}</label>
        <input id="filter" type="search" aria-label={t('search')} placeholder={`${t('search')}  /`} value={search} onInput={(event) => setSearch(event.currentTarget.value)} />
        <span class="count" role="status">{shown.length} {t('lines')}</span>
      </div>
      {errors.map((error, i) => <Failure key={i} error={error} />)}
      <Lines lines={shown} labels={labels} search={wanted} stick={follow} />
    </div>
  );
}

function Lines({ lines, labels, search, stick }: { lines: LogLine[]; labels: string[]; search: string; stick: boolean }) {
  const at = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const atEnd = useRef(true);
  useLayoutEffect(() => {
    const box = at.current;
    if (box && stick && atEnd.current) box.scrollTop = box.scrollHeight;
  }, [lines, stick]);
  const scrolled = (box: HTMLDivElement) => {
    atEnd.current = box.scrollTop + box.clientHeight >= box.scrollHeight - 2 * LINE_PX;
    setTop(box.scrollTop);
  };
  const height = at.current?.clientHeight ?? 600;
  const first = Math.max(0, Math.floor(top / LINE_PX) - MORE_LINES);
  const last = Math.min(lines.length, Math.ceil((top + height) / LINE_PX) + MORE_LINES);
  return (
    <div class="log" ref={at} onScroll={(event) => scrolled(event.currentTarget)} tabIndex={0} role="log" aria-label={t('logs')} aria-live="off">
      <div style={{ height: `${lines.length * LINE_PX}px` }}>
        <div style={{ transform: `translateY(${first * LINE_PX}px)` }}>
          {lines.slice(first, last).map((line, i) => (
            <div class="line" key={first + i} title={line.at}>
              {labels[line.from] && <span class={`from from${line.from % 6}`}>{labels[line.from]}</span>}
              <Marked text={line.text} search={search} />
            </div>
          ))}
        </div>
      </div>
    </div>
  );
}

function Marked({ text, search }: { text: string; search: string }) {
  if (!search) return <span>{text}</span>;
  const parts = [];
  let from = 0;
  for (let at = text.toLowerCase().indexOf(search); at >= 0 && parts.length < 100; at = text.toLowerCase().indexOf(search, from)) {
    parts.push(text.slice(from, at), <mark key={at}>{text.slice(at, at + search.length)}</mark>);
    from = at + search.length;
  }
  return <span>{parts}{text.slice(from)}</span>;
}
