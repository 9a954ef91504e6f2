// Small parts that many pages use.
import { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiError } from './api';
import { t } from './i18n';

/** Why something is not shown or was not done. */
export function Failure({ error }: { error: ApiError }) {
  const denied = error.code === 403 || error.code === 401;
  return (
    <div class={denied ? 'failure denied' : 'failure'} role="alert">
      <strong>{denied ? t('denied') : t('failed')}</strong> <span>{error.message || error.reason || String(error.code)}</span>
    </div>
  );
}

export function Section({ title, children, isWide }: { title: string; children: ComponentChildren; isWide?: boolean }) {
  return (
    <section class={isWide ? 'card whole' : 'card'}>
      <h2>{title}</h2>
      {children}
    </section>
  );
}

/** A dialog above the page; the browser keeps the focus inside. */
export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren }) {
  const at = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    at.current?.showModal();
  }, []);
  return (
    <dialog ref={at} aria-label={title} onClose={onClose} onCancel={onClose}>
      <h2>{title}</h2>
      {children}
    </dialog>
  );
}

/** Asks before something is done, and shows why it was not. */
export function Act({ title, label, danger, children, isReady = true, run, onClose }: {
  title: string;
  label: string;
  danger?: boolean;
  children?: ComponentChildren;
  isReady?: boolean;
  run: () => Promise<unknown>;
  onClose: (done: boolean) => void;
}) {
  const [error, setError] = useState<ApiError>();
  const [busy, setBusy] = useState(false);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (!isReady || busy) return;
    setBusy(true);
    try {
      await run();
      onClose(true);
    } catch (failed) {
      setError(failed instanceof ApiError ? failed : new ApiError(0, '', String(failed)));
      setBusy(false);
    }
  };
  return (
    <Dialog title={title} onClose={() => onClose(false)}>
      <form onSubmit={submit}>
        {children}
        {error && <Failure error={error} />}
        <div class="buttons">
          <button type="button" onClick={() => onClose(false)}>{t('cancel')}</button>
          <button type="submit" class={danger ? 'danger' : 'primary'} disabled={!isReady || busy}>{label}</button>
        </div>
      </form>
    </Dialog>
  );
}

export function age(since: string | undefined, now = Date.now()): string {
  const s = Math.max(0, Math.floor((now - Date.parse(since ?? '')) / 1000));
  if (Number.isNaN(s)) return '';
  if (s < 120) return `${s}s`;
  if (s < 600) return `${Math.floor(s / 60)}m${s % 60 ? `${s % 60}s` : ''}`;
  if (s < 3 * 3600) return `${Math.floor(s / 60)}m`;
  if (s < 8 * 3600) return `${Math.floor(s / 3600)}h${Math.floor((s % 3600) / 60) ? `${Math.floor((s % 3600) / 60)}m` : ''}`;
  if (s < 48 * 3600) return `${Math.floor(s / 3600)}h`;
  return `${Math.floor(s / 86400)}d`;
}

/** Seconds go by: what shows an age is drawn again. */
export function useTick(every_ms: number) {
  const [, set] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => set((n) => n + 1), every_ms);
    return () => clearInterval(timer);
  }, [every_ms]);
}

const SCALE: Record<string, number> = {
  n: 1e-9, u: 1e-6, m: 1e-3, '': 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18,
  Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60,
};

/** A quantity as a number, 0 where it is none. */
export function quantity(text: unknown): number {
  const match = /^([+-]?[0-9.]+)(?:[eE]([+-]?\d+)|([a-zA-Z]*))$/.exec(String(text ?? ''));
  if (!match) return 0;
  if (match[2]) return Number(match[1]) * 10 ** Number(match[2]);
  return Number(match[1]) * (SCALE[match[3] ?? ''] ?? 0);
}

export function bytes(amount: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let at = 0;
  while (amount >= 1024 && at < units.length - 1) {
    amount /= 1024;
    at++;
  }
  return `${amount < 10 && at ? amount.toFixed(1) : Math.round(amount)} ${units[at]}`;
}

export function cores(amount: number): string {
  return amount < 1 ? `${Math.round(amount * 1000)}m` : amount.toFixed(2);
}

/** How much of a whole something takes. */
export function Meter({ label, part, whole, text }: { label: string; part: number; whole: number; text: string }) {
  const share = whole > 0 ? Math.min(1, part / whole) : 0;
  return (
    <div class="meter" role="meter" aria-label={label} aria-valuemin={0} aria-valuemax={100} aria-valuenow={Math.round(share * 100)} aria-valuetext={text}>
      <div class="meter-label"><span>{label}</span><span>{text}</span></div>
      <svg viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">
        <rect class="meter-all" width="100" height="4" />
        <rect class={share > 0.9 ? 'meter-part high' : 'meter-part'} width={share * 100} height="4" />
      </svg>
    </div>
  );
}

/** The colour of a word of status: a class. */
export function tone(text: string): string {
  if (/^(Running|Ready|Active|Bound|Available|Succeeded|Completed|Complete|True|Normal)$/.test(text)) return 'good';
  if (/Error|BackOff|Failed|Evicted|OOM|NotReady|Lost|Unknown|Invalid|False|Warning/.test(text)) return 'bad';
  if (/Pending|Creating|Terminating|Init|NotReady|Scheduling|Released/.test(text)) return 'wait';
  return '';
}
