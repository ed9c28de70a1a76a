// How large a regular expression becomes when its repetitions are written out, from its text alone: compiling
// takes time and memory by that, and a few characters can mean millions.

/** Beyond this nobody asks how much more it is. */
const ENOUGH = 1e9;
/** `\p{L}` has hundreds of ranges. */
const UNICODE_CLASS = 10;
const REPETITION = /\{(\d+)(?:,(\d*))?\}/y;
const CLASS = /\[\^?\]?(?:\\.|\[:[^:\]]*:\]|[^\]\\])*\]?/y;
const ESCAPE = /\\(?:[pP](?:\{[^}]*\}|.)|x\{[^}]*\}|x..|Q|.)?/suy;
/** What follows the opening parenthesis of a group: flags, a name. */
const GROUP_HEAD = /\((?:\?(?:P?<[^>]*>|[a-zA-Z-]*:?))?/y;

/** About the number of instructions. */
export function regexSteps(pattern: string): number {
  const counter = new StepCounter(pattern);
  return counter.run();
}

class StepCounter {
  private readonly pattern: string;
  private position = 0;
  /** Of the groups that are open: steps so far. */
  private readonly open: number[] = [0];
  /** Of what a quantifier would repeat. */
  private last = 0;

  constructor(pattern: string) {
    this.pattern = pattern;
  }

  run(): number {
    while (this.position < this.pattern.length && this.open.at(-1)! < ENOUGH) this.next();
    return this.open.reduce((sum, steps) => sum + steps, 0);
  }

  private next(): void {
    switch (this.pattern[this.position]) {
      case '\\':
        return this.escape();
      case '[':
        return this.atom(this.take(CLASS).match(/\\p/i) ? UNICODE_CLASS : 1);
      case '(':
        this.take(GROUP_HEAD);
        this.open.push(0);
        this.last = 0;
        return;
      case ')':
        this.position++;
        return this.atom((this.open.length > 1 ? this.open.pop()! : 0) + 2);
      case '{':
        return this.repetition();
      case '*':
      case '+':
      case '?':
        this.position++;
        return this.add(1);
      default:
        this.position++;
        return this.atom(1);
    }
  }

  private escape(): void {
    const escape = this.take(ESCAPE);
    if (escape !== '\\Q') return this.atom(/^.p/i.test(escape) ? UNICODE_CLASS : 1);
    const end = this.pattern.indexOf('\\E', this.position);
    const to = end < 0 ? this.pattern.length : end;
    this.atom(to - this.position);
    this.last = 1;
    this.position = end < 0 ? to : end + 2;
  }

  private repetition(): void {
    REPETITION.lastIndex = this.position;
    const match = REPETITION.exec(this.pattern);
    if (match === null) {
      this.position++;
      return this.atom(1);
    }
    this.position += match[0].length;
    const [, least, most] = match;
    const times = Number(most === undefined || most === '' ? least : most) + (most === '' ? 1 : 0);
    const { last } = this;
    this.add(last * (Math.max(times, 1) - 1));
    this.last = last * Math.max(times, 1);
  }

  private take(what: RegExp): string {
    what.lastIndex = this.position;
    const text = what.exec(this.pattern)?.[0] ?? this.pattern[this.position]!;
    this.position += text.length;
    return text;
  }

  private atom(steps: number): void {
    this.last = steps;
    this.add(steps);
  }

  private add(steps: number): void {
    this.open[this.open.length - 1]! += steps;
  }
}
