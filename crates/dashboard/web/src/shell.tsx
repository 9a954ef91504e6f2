// A shell in a container: exec over a WebSocket, in the channels of v5.channel.k8s.io.
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError, Obj, core, path, request, socket } from './api';
import { t } from './i18n';
import { loadTerminal } from './lazy';
import { may } from './live';
import type { Screen } from './terminal';
import { Failure } from './ui';

const STDIN = 0;
const STDOUT = 1;
const STDERR = 2;
const ERROR = 3;
const RESIZE = 4;
const ANY_SHELL = 'command -v bash >/dev/null 2>&1 && exec bash || exec sh';

function message(channel: number, text: string): Uint8Array<ArrayBuffer> {
  const bytes = new TextEncoder().encode(text);
  const framed = new Uint8Array(bytes.length + 1);
  framed[0] = channel;
  framed.set(bytes, 1);
  return framed;
}

export function Shell({ pod }: { pod: Obj }) {
  const names: string[] = (pod.spec?.containers ?? []).map((container: any) => container.name);
  const [container, setContainer] = useState(names[0] ?? '');
  const [command, setCommand] = useState('');
  const [session, setSession] = useState(0);
  return (
    <div class="shell">
      <form class="bar" onSubmit={(event) => { event.preventDefault(); setSession((n) => n + 1); }}>
        <label>{t('container')} <select value={container} onChange={(event) => setContainer(event.currentTarget.value)}>{names.map((name) => <option key={name} value={name}>{name}</option>)}</select></label>
        <label>{t('command')} <input value={command} placeholder="sh" onInput={(event) => setCommand(event.currentTarget.value)} /></label>
        <button class="primary" type="submit">{t('connect')}</button>
      </form>
      {session > 0 && <Session key={session} pod={pod} container={container} command={command} />}
    </div>
  );
}

function Session({ pod, container, command }: { pod: Obj; container: string; command: string }) {
  const at = useRef<HTMLDivElement>(null);
  const [error, setError] = useState<ApiError>();
  const [hasEnded, setEnded] = useState(false);
  useEffect(() => {
    let screen: Screen | undefined;
    let live: WebSocket | undefined;
    let left = false;
    const words = command.trim() ? command.trim().split(/\s+/) : ['sh', '-c', ANY_SHELL];
    const query = new URLSearchParams({ container, stdin: 'true', stdout: 'true', tty: 'true' });
    for (const word of words) query.append('command', word);
    const exec = `${path(core('pods'), pod.metadata.namespace, pod.metadata.name, 'exec')}?${query}`;
    loadTerminal().then(({ openTerminal }) => {
      if (left || !at.current) return;
      const connection = socket(exec, ['v5.channel.k8s.io', 'v4.channel.k8s.io']);
      live = connection;
      const send = (channel: number, text: string) => connection.readyState === WebSocket.OPEN && connection.send(message(channel, text));
      let size = '';
      let opened = false;
      screen = openTerminal(at.current, {
        typed: (text) => send(STDIN, text),
        resized: (columns, rows) => {
          size = JSON.stringify({ Width: columns, Height: rows });
          send(RESIZE, size);
        },
      });
      connection.onopen = () => {
        opened = true;
        send(RESIZE, size);
        screen?.focus();
      };
      connection.onmessage = (event) => {
        const bytes = new Uint8Array(event.data);
        if (bytes[0] === STDOUT || bytes[0] === STDERR) screen?.write(bytes.subarray(1));
        if (bytes[0] === ERROR) {
          const status = read(bytes.subarray(1));
          if (status && status.status !== 'Success') setError(new ApiError(0, '', status.message ?? ''));
        }
      };
      connection.onclose = () => {
        if (left) return;
        setEnded(true);
        if (!opened) refused(exec, pod).then(setError, setError);
      };
    });
    return () => {
      left = true;
      live?.close();
      screen?.destroy();
    };
  }, []);
  return (
    <>
      {error && <Failure error={error} />}
      {hasEnded && <p class="faint" role="status">{t('disconnected')}</p>}
      <div class="screen" ref={at} role="region" aria-label={t('terminal')} />
    </>
  );
}

function read(bytes: Uint8Array): { status?: string; message?: string } | undefined {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}

/** Why there is no session: a browser does not say why a WebSocket was refused. */
async function refused(exec: string, pod: Obj): Promise<ApiError> {
  const { namespace = '', name } = pod.metadata;
  const review = await may('create', '', 'pods', namespace, name, 'exec');
  if (!review.allowed) return new ApiError(403, 'Forbidden', `create pods/exec: ${review.reason || t('denied')}`);
  // Without the upgrade it never succeeds, and says what is wrong with the rest.
  return request('GET', exec).then(() => new ApiError(0, '', t('failed')), (error) => error);
}
