// The YAML editor, loaded when one is opened.
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
  '.cm-panels': { backgroundColor: 'var(--panel)', color: 'var(--text)' },
});

export interface Editor {
  text(): string;
  focus(): void;
  destroy(): void;
}

export function openEditor(parent: HTMLElement, text: string, label: string, isReadOnly: boolean): Editor {
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
        keymap.of([...defaultKeymap, ...historyKeymap, ...searchKeymap, ...foldKeymap]),
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
