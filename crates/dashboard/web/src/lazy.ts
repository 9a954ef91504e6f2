// What is loaded when it is needed, as files of their own.
import type * as editor from './editor';
import type * as terminal from './terminal';

const EDITOR = '/assets/editor.js';
const TERMINAL = '/assets/terminal.js';
const TERMINAL_STYLE = '/assets/terminal.css';

export const loadEditor = (): Promise<typeof editor> => import(EDITOR);

export function loadTerminal(): Promise<typeof terminal> {
  if (!document.querySelector(`link[href="${TERMINAL_STYLE}"]`)) {
    const link = document.createElement('link');
    link.rel = 'stylesheet';
    link.href = TERMINAL_STYLE;
    document.head.append(link);
  }
  return import(TERMINAL);
}
