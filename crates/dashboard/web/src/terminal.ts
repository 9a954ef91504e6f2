// The terminal, loaded when one is opened.
import { FitAddon } from '@xterm/addon-fit';
import { Terminal } from '@xterm/xterm';
import { adoptStyles } from './styles';

adoptStyles();

export interface Screen {
  write(bytes: Uint8Array): void;
  focus(): void;
  destroy(): void;
}

export function openTerminal(parent: HTMLElement, on: { typed(text: string): void; resized(columns: number, rows: number): void }): Screen {
  // Links in the output lead nowhere: what a program writes is text.
  const terminal = new Terminal({ fontSize: 13, cursorBlink: false, screenReaderMode: true, linkHandler: { activate() {} }, scrollback: 5000 });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.onData(on.typed);
  terminal.onResize(({ cols, rows }) => on.resized(cols, rows));
  terminal.open(parent);
  fit.fit();
  on.resized(terminal.cols, terminal.rows);
  const observer = new ResizeObserver(() => fit.fit());
  observer.observe(parent);
  return {
    write: (bytes) => terminal.write(bytes),
    focus: () => terminal.focus(),
    destroy() {
      observer.disconnect();
      terminal.dispose();
    },
  };
}
