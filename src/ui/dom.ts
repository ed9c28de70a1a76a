// Elements from values. Text becomes text and never markup: nothing here parses HTML.

export type Child = Node | string | undefined;

/** What an element may be given; `href` comes from `pageLink` only. */
export interface Props {
  readonly class?: string;
  readonly id?: string;
  readonly href?: string;
  readonly title?: string;
  readonly role?: string;
  readonly type?: string;
  readonly label?: string;
  readonly tabindex?: number;
  /** A hue for `--h` of the style sheet. */
  readonly hue?: number;
  readonly onclick?: () => void;
}

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props,
  ...children: readonly Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  const { class: className, label, hue, onclick, ...plain } = props;
  if (className !== undefined) element.className = className;
  if (label !== undefined) element.setAttribute('aria-label', label);
  if (hue !== undefined) element.style.setProperty('--h', String(hue));
  if (onclick !== undefined) element.addEventListener('click', onclick);
  for (const [name, value] of Object.entries(plain)) element.setAttribute(name, String(value));
  element.append(...children.filter((child) => child !== undefined));
  return element;
}

/** Text of strangers: its direction stays its own. */
export function foreign(text: string, className?: string): HTMLElement {
  return h('bdi', className === undefined ? {} : { class: className }, text);
}

export function byId<T extends HTMLElement>(id: string, kind: new () => T): T {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`the page has no ${id}`);
  return element;
}

/** A button that puts a text on the clipboard, where the browser allows it. */
export function copyButton(text: string, what: string): HTMLElement {
  const button = h('button', { class: 'quiet', type: 'button', label: `Copy ${what}` }, 'Copy');
  button.addEventListener('click', () => {
    const tell = (word: string): void => {
      button.textContent = word;
      setTimeout(() => (button.textContent = 'Copy'), 1500);
    };
    // Only pages that came over HTTPS or from this machine have it.
    if (navigator.clipboard === undefined) tell('Select it');
    else
      navigator.clipboard.writeText(text).then(
        () => tell('Copied'),
        () => tell('Refused'),
      );
  });
  return button;
}
