// The spans of a trace on their timeline. Only the rows in sight exist, so that a trace may have any number
// of spans; one of them is current, and the keyboard moves it as in any tree.
import { foreign, h } from './dom.ts';
import { durationText, hueOf, lineText } from './format.ts';
import type { Row, TraceRows } from './span-tree.ts';

export interface WaterfallOptions {
  readonly trace: TraceRows;
  /** A span is opened, or none is any more. */
  readonly onOpen: (row: Row | undefined) => void;
}

export interface Waterfall {
  readonly element: HTMLElement;
  /** Draws what is in sight, once the element is on the page. */
  readonly draw: () => void;
  readonly focus: () => void;
  readonly close: () => void;
}

interface Drawn {
  readonly row: Row;
  readonly at: number;
  /** What of its look changes. */
  readonly look: string;
  readonly element: HTMLElement;
}

const ROWS_BEYOND = 12;
const INDENT_MAX = 16;
const TICKS = 4;
const NARROW = matchMedia('(max-width: 720px)');

export function waterfall(options: WaterfallOptions): Waterfall {
  return new View(options);
}

class View implements Waterfall {
  readonly element: HTMLElement;
  private readonly trace: TraceRows;
  private readonly onOpen: WaterfallOptions['onOpen'];
  private readonly tree: HTMLElement;
  private readonly collapsed = new Set<Row>();
  /** Those that no collapsed row hides. */
  private visible: readonly Row[];
  private current = 0;
  private open: Row | undefined;
  private drawn: readonly Drawn[] = [];

  constructor({ trace, onOpen }: WaterfallOptions) {
    this.trace = trace;
    this.onOpen = onOpen;
    this.visible = trace.rows;
    this.tree = h('div', { class: 'rows', role: 'tree', tabindex: 0, label: 'Spans of the trace' });
    this.tree.addEventListener('keydown', (event) => this.onKey(event));
    this.element = h('div', { class: 'waterfall' }, ticks(trace.durationMs), this.tree);
  }

  focus(): void {
    this.tree.focus({ preventScroll: true });
  }

  close(): void {
    this.open = undefined;
    this.onOpen(undefined);
    this.draw();
    this.focus();
  }

  draw(): void {
    const height = rowHeight();
    const top = this.tree.getBoundingClientRect().top;
    const from = Math.max(0, Math.floor(-top / height) - ROWS_BEYOND);
    const to = Math.min(this.visible.length, Math.ceil((innerHeight - top) / height) + ROWS_BEYOND);
    this.tree.style.height = `${this.visible.length * height}px`;
    const before = new Map(this.drawn.map((drawn) => [drawn.at, drawn]));
    const drawn: Drawn[] = [];
    for (let at = from; at < to; at++) {
      const row = this.visible[at];
      if (row !== undefined) drawn.push(this.drawRow(row, at, height, before.get(at)));
    }
    this.place(drawn);
    this.drawn = drawn;
    const isDrawn = this.current >= from && this.current < to;
    if (isDrawn) this.tree.setAttribute('aria-activedescendant', `row-${this.current}`);
    else this.tree.removeAttribute('aria-activedescendant');
  }

  /** A row that looks as it did stays the same element: a click on one that goes meanwhile would be lost. */
  private drawRow(row: Row, at: number, height: number, before: Drawn | undefined): Drawn {
    const isCollapsed = this.collapsed.has(row);
    const look = `${at === this.current} ${row === this.open} ${isCollapsed} ${height}`;
    if (before?.row === row && before.look === look) return before;
    return { row, at, look, element: this.rowElement(row, at, height) };
  }

  /** Has the tree hold these alone, and leaves those that it has already where they are. */
  private place(drawn: readonly Drawn[]): void {
    const kept = new Set(drawn);
    for (const before of this.drawn) if (!kept.has(before)) before.element.remove();
    let next = this.tree.firstElementChild;
    for (const { element } of drawn) {
      if (element === next) next = next.nextElementSibling;
      else this.tree.insertBefore(element, next);
    }
  }

  private rowElement(row: Row, at: number, height: number): HTMLElement {
    const { durationMs } = this.trace;
    const bar = h('span', { class: 'bar' });
    const left = durationMs === 0 ? 0 : Math.min(99.8, (Math.max(0, row.startMs) / durationMs) * 100);
    bar.style.left = `${left}%`;
    bar.style.width = `${Math.max(0.2, durationMs === 0 ? 100 : (row.durationMs / durationMs) * 100)}%`;
    const time = h('span', { class: left > 70 ? 'time before' : 'time' }, durationText(row.durationMs));
    time.style.left =
      left > 70 ? `${left}%` : `${Math.min(100, left + (row.durationMs / (durationMs || 1)) * 100)}%`;
    const name = h(
      'span',
      { class: 'label' },
      this.twisty(row, at),
      foreign(lineText(row.name) || '(no name)', 'name'),
      row.isError ? h('span', { class: 'error', role: 'img', label: 'error' }, '!') : undefined,
      foreign(lineText(row.service, 60), 'service'),
    );
    name.style.paddingLeft = `${Math.min(row.depth, INDENT_MAX) * 0.8}rem`;
    const classes = ['row', at === this.current ? 'current' : '', row === this.open ? 'open' : ''];
    const element = h(
      'div',
      {
        class: classes.join(' '),
        id: `row-${at}`,
        role: 'treeitem',
        hue: hueOf(row.service),
      },
      name,
      h('span', { class: 'track' }, bar, time),
    );
    if (row.isError) element.classList.add('failed');
    if (row.below > 0) element.setAttribute('aria-expanded', String(!this.collapsed.has(row)));
    element.setAttribute('aria-level', String(row.depth + 1));
    element.setAttribute('aria-selected', String(row === this.open));
    element.style.top = `${at * height}px`;
    element.style.height = `${height}px`;
    element.addEventListener('click', () => {
      this.current = at;
      this.toggleOpen(row);
    });
    return element;
  }

  private twisty(row: Row, at: number): HTMLElement {
    if (row.below === 0) return h('span', { class: 'twisty' });
    const mark = h('span', { class: 'twisty' }, this.collapsed.has(row) ? '▸' : '▾');
    mark.setAttribute('aria-hidden', 'true');
    mark.addEventListener('click', (event) => {
      event.stopPropagation();
      this.current = at;
      this.collapse(row, !this.collapsed.has(row));
    });
    return mark;
  }

  private onKey(event: KeyboardEvent): void {
    const row = this.visible[this.current];
    if (row === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(innerHeight / rowHeight()) - 3);
    const isCollapsed = this.collapsed.has(row);
    const actions: Readonly<Record<string, () => void>> = {
      ArrowDown: () => this.moveTo(this.current + 1),
      ArrowUp: () => this.moveTo(this.current - 1),
      PageDown: () => this.moveTo(this.current + page),
      PageUp: () => this.moveTo(this.current - page),
      Home: () => this.moveTo(0),
      End: () => this.moveTo(this.visible.length - 1),
      ArrowRight: () => (isCollapsed ? this.collapse(row, false) : this.moveTo(this.current + 1)),
      ArrowLeft: () =>
        row.below > 0 && !isCollapsed ? this.collapse(row, true) : this.moveTo(this.parentOf(this.current)),
      Enter: () => this.toggleOpen(row),
      ' ': () => this.toggleOpen(row),
      Escape: () => this.close(),
    };
    const action = actions[event.key];
    if (action === undefined) return;
    event.preventDefault();
    action();
  }

  private moveTo(at: number): void {
    this.current = Math.max(0, Math.min(this.visible.length - 1, at));
    const height = rowHeight();
    const top = this.tree.getBoundingClientRect().top + this.current * height;
    if (top < height * 2) scrollBy(0, top - height * 2);
    else if (top + height * 2 > innerHeight) scrollBy(0, top + height * 2 - innerHeight);
    if (this.open !== undefined) {
      this.open = this.visible[this.current];
      this.onOpen(this.open);
    }
    this.draw();
  }

  private parentOf(at: number): number {
    const depth = this.visible[at]?.depth ?? 0;
    for (let above = at - 1; above >= 0; above--) if ((this.visible[above]?.depth ?? 0) < depth) return above;
    return at;
  }

  private toggleOpen(row: Row): void {
    this.open = this.open === row ? undefined : row;
    this.onOpen(this.open);
    this.draw();
  }

  private collapse(row: Row, isCollapsed: boolean): void {
    if (isCollapsed) this.collapsed.add(row);
    else this.collapsed.delete(row);
    const visible: Row[] = [];
    const { rows } = this.trace;
    for (let at = 0; at < rows.length; at++) {
      const shown = rows[at] as Row;
      visible.push(shown);
      if (this.collapsed.has(shown)) at += shown.below;
    }
    this.visible = visible;
    this.draw();
  }
}

/** As the style sheet has it. */
function rowHeight(): number {
  return NARROW.matches ? 46 : 30;
}

function ticks(durationMs: number): HTMLElement {
  const track = h('span', { class: 'track' });
  for (let tick = 0; tick <= TICKS; tick++) {
    const mark = h(
      'span',
      { class: tick === TICKS ? 'tick last' : 'tick' },
      tick === 0 ? '0' : durationText((durationMs * tick) / TICKS),
    );
    mark.style.left = `${(tick / TICKS) * 100}%`;
    track.append(mark);
  }
  const head = h('div', { class: 'ticks' }, h('span', { class: 'label' }, 'Span'), track);
  head.setAttribute('aria-hidden', 'true');
  return head;
}
