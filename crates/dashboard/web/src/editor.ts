// The YAML editor, loaded when one is opened.
import { CompletionContext, CompletionResult, autocompletion, completionKeymap } from '@codemirror/autocomplete';
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands';
import { yaml } from '@codemirror/lang-yaml';
import { HighlightStyle, bracketMatching, foldGutter, foldKeymap, indentOnInput, syntaxHighlighting } from '@codemirror/language';
import { highlightSelectionMatches, searchKeymap } from '@codemirror/search';
import { EditorState } from '@codemirror/state';
import { EditorView, drawSelection, highlightActiveLine, highlightActiveLineGutter, highlightSpecialChars, keymap, lineNumbers } from '@codemirror/view';
import { tags } from '@lezer/highlight';
import { CORE_SCHEMA, load } from 'js-yaml';
import { adoptStyles } from './styles';

adoptStyles();

/** The page's own colours, which follow its theme. */
const COLOURS = HighlightStyle.define([
  { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: 'var(--link)' },
  { tag: [tags.string, tags.content, tags.attributeValue], color: 'var(--text)' },
  { tag: [tags.comment, tags.meta], color: 'var(--faint)' },
  { tag: [tags.keyword, tags.bool, tags.number, tags.labelName, tags.typeName], color: 'var(--good)' },
  { tag: [tags.punctuation, tags.separator], color: 'var(--faint)' },
  { tag: tags.invalid, color: 'var(--bad)' },
]);
const LOOKS = EditorView.theme({
  '&': { backgroundColor: 'var(--back)', color: 'var(--text)', fontSize: '13px' },
  '.cm-content': { caretColor: 'var(--text)' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '.cm-gutters': { backgroundColor: 'var(--panel)', color: 'var(--faint)', borderRight: '1px solid var(--line)' },
  '.cm-activeLine, .cm-activeLineGutter': { backgroundColor: 'var(--code)' },
  '&.cm-focused .cm-selectionBackground, .cm-selectionBackground': { backgroundColor: 'var(--mark)' },
  '.cm-tooltip': { backgroundColor: 'var(--panel)', color: 'var(--text)', border: '1px solid var(--line)' },
  '.cm-tooltip.cm-tooltip-autocomplete > ul > li[aria-selected]': { backgroundColor: 'var(--accent)', color: 'var(--on-accent)' },
  '.cm-completionDetail': { color: 'inherit', fontStyle: 'normal', opacity: '0.8' },
  '.cm-panels': { backgroundColor: 'var(--panel)', color: 'var(--text)' },
});

export interface Editor {
  text(): string;
  focus(): void;
  destroy(): void;
}

/** What may stand at a place, by the lines above and what is left of the word. */
export type Complete = (before: string[], prefix: string) => Promise<{ name: string; type: string; text: string; isRequired: boolean }[]>;

function completed(complete: Complete) {
  return async (context: CompletionContext): Promise<CompletionResult | null> => {
    const line = context.state.doc.lineAt(context.pos);
    const match = /^(\s*(?:- )*)([A-Za-z0-9_.-]*)$/.exec(line.text.slice(0, context.pos - line.from));
    if (!match || (!match[2] && !context.explicit)) return null;
    const before = context.state.doc.sliceString(0, line.from).split('\n').slice(0, -1);
    const fields = await complete(before, match[1]);
    const options = fields.map(({ name, type, text, isRequired }) => ({
      label: name,
      type: 'property',
      detail: isRequired ? `${type} *` : type,
      info: text || undefined,
      apply: type === 'object' || type === 'array' ? `${name}:` : `${name}: `,
    }));
    return options.length ? { from: line.from + match[1].length, options, validFor: /^[A-Za-z0-9_.-]*$/ } : null;
  };
}

export function openEditor(parent: HTMLElement, text: string, label: string, isReadOnly: boolean, complete: Complete): Editor {
  const view = new EditorView({
    parent,
    state: EditorState.create({
      doc: text,
      extensions: [
        lineNumbers(),
        foldGutter(),
        highlightSpecialChars(),
        history(),
        drawSelection(),
        indentOnInput(),
        bracketMatching(),
        highlightActiveLine(),
        highlightActiveLineGutter(),
        highlightSelectionMatches(),
        syntaxHighlighting(COLOURS),
        LOOKS,
        yaml(),
        autocompletion({ override: [completed(complete)], icons: false }),
        keymap.of([...completionKeymap, ...defaultKeymap, ...historyKeymap, ...searchKeymap, ...foldKeymap]),
        EditorState.readOnly.of(isReadOnly),
        EditorView.contentAttributes.of({ 'aria-label': label, spellcheck: 'false', tabindex: '0' }),
      ],
    }),
  });
  return { text: () => view.state.doc.toString(), focus: () => view.focus(), destroy: () => view.destroy() };
}

/** The document as a value, without dates and the like: as the API server reads it. */
export function readYaml(text: string): unknown {
  return load(text, { schema: CORE_SCHEMA });
}
