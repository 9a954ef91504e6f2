// Libraries that bring their styles as elements: the page's policy forbids these, so each becomes a sheet that the
// document adopts, which needs no exception.

const create = document.createElement.bind(document);

function sheetElement(): HTMLElement {
  const element = create('span');
  const sheet = new CSSStyleSheet();
  element.hidden = true;
  Object.defineProperty(element, 'textContent', {
    get: () => '',
    set: (text: string) => sheet.replaceSync(text),
  });
  // Some take their style out again and put it elsewhere: it stays in force, for the names in it are their own.
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((other) => other !== sheet);
    Element.prototype.remove.call(element);
  };
  return element;
}

export function adoptStyles() {
  document.createElement = ((name: string, options?: ElementCreationOptions) =>
    name.toLowerCase() === 'style' ? sheetElement() : create(name, options)) as typeof document.createElement;
}
