// Random valid TraceQL, from the whole grammar, over a vocabulary of fields: every scope and intrinsic, all
// operators, literals of every form, spaces and comments where they may stand. A seed gives the same queries.
import type { Chance } from './fuzz.ts';

export type FieldType = 'string' | 'int' | 'float' | 'bool' | 'status' | 'kind' | 'duration' | 'id' | 'any';

export interface RandomField {
  /** The same field in different spellings. */
  readonly names: readonly string[];
  readonly type: FieldType;
  /** Literals that it is compared with; some should occur. */
  readonly values: readonly string[];
  /** It is never absent: a null test is no query. */
  readonly isIntrinsic?: boolean;
}

export interface Vocabulary {
  readonly fields: readonly RandomField[];
  /** Patterns, unquoted, with no backslash. */
  readonly patterns: readonly string[];
}

const ORDER = ['<', '<=', '>', '>='];
const EQUAL = ['=', '=', '=', '!='];
const STRUCTURAL = '>> << > < ~ !>> !<< !> !< !~ &>> &<< &> &< &~'.split(' ');
const AGGREGATES = ['avg', 'min', 'max', 'sum'];
const SPACES = [' ', ' ', ' ', ' ', ' ', '  ', '\n', '\t', ' /* why */ ', ' // why\n'];
const NUMERIC: readonly FieldType[] = ['int', 'float', 'duration'];
const DEPTH_MAX = 3;

export class RandomQueries {
  private readonly chance: Chance;
  private readonly fields: readonly RandomField[];
  private readonly patterns: readonly string[];

  constructor(chance: Chance, vocabulary: Vocabulary) {
    this.chance = chance;
    this.fields = vocabulary.fields;
    this.patterns = vocabulary.patterns;
  }

  /** A search. */
  search(): string {
    if (this.chance.once(12)) return this.wrappedPipelines();
    let text = this.spanset(0);
    for (let i = this.chance.below(3); i > 0; i--) text += this.pipe() + this.stage();
    if (this.chance.once(25)) text += ' with(most_recent=true)';
    return text;
  }

  /** Pipelines in parentheses stand beside others only, and nothing stands behind them. */
  private wrappedPipelines(): string {
    const parts = [0, ...this.chance.times(1)].map(() => {
      const more = [0, ...this.chance.times(1)].map(() => this.pipe() + this.groupedStage());
      return `(${this.spanset(1)}${more.join('')})`;
    });
    return parts.join(` ${this.spansetOperator()} `);
  }

  /** A search with a metrics function behind it. */
  metrics(): string {
    let text = this.chance.once(3) ? this.spanset(0) : this.filter();
    if (this.chance.once(8)) text += this.pipe() + this.stage();
    text += this.pipe() + this.metricsFunction();
    return this.chance.once(6)
      ? `${text} | ${this.chance.of(['topk', 'bottomk'])}(${1 + this.chance.below(6)})`
      : text;
  }

  private metricsFunction(): string {
    const { chance } = this;
    const by = (max: number): string => {
      const names = chance.times(Math.min(max, 3)).map(() => this.name());
      return names.length === 0 ? '' : ` by(${[...new Set(names)].join(', ')})`;
    };
    const numeric = (): string => chance.of(this.ofType(NUMERIC).names);
    switch (chance.below(7)) {
      case 0:
        return `rate()${by(5)}`;
      case 1:
        return `count_over_time()${by(5)}`;
      case 2:
        return `${chance.of(['min', 'max'])}_over_time(${numeric()})${by(5)}`;
      case 3:
        return `${chance.of(['avg', 'sum'])}_over_time(${numeric()})${by(4)}`;
      case 4:
        return `histogram_over_time(${numeric()})${by(4)}`;
      case 5:
        return `compare({ ${this.condition(1)} }${chance.of(['', ', 3', ', 5000', ', 5000'])})`;
      default: {
        const quantiles = [0, ...chance.times(2)].map(() => chance.of(['0', '.5', '0.9', '.99', '1.0']));
        return `quantile_over_time(${numeric()}, ${[...new Set(quantiles)].join(', ')})${by(4)}`;
      }
    }
  }

  private space(): string {
    return this.chance.of(SPACES);
  }

  private pipe(): string {
    return this.chance.once(4) ? '|' : `${this.space()}|${this.space()}`;
  }

  private ofType(types: readonly FieldType[]): RandomField {
    return this.chance.of(this.fields.filter(({ type }) => types.includes(type)));
  }

  private name(): string {
    return this.chance.of(this.chance.of(this.fields).names);
  }

  private spanset(depth: number): string {
    const { chance } = this;
    if (depth >= DEPTH_MAX || chance.below(3) > 0) return this.filter();
    if (chance.once(6)) return `(${this.spanset(depth + 1)})`;
    const op = this.space() + this.spansetOperator() + this.space();
    return this.spanset(depth + 1) + op + this.spanset(depth + 1);
  }

  private spansetOperator(): string {
    return this.chance.once(3) ? this.chance.of(['&&', '||']) : this.chance.of(STRUCTURAL);
  }

  /** What leaves one spanset a trace, as an operand of spanset operators has to be. */
  private groupedStage(): string {
    return this.chance.once(3) ? `by(${this.groupKey()}) | coalesce()` : this.stageOf(this.chance.below(4));
  }

  private stage(): string {
    return this.stageOf(this.chance.below(7));
  }

  private stageOf(kind: number): string {
    const { chance } = this;
    switch (kind) {
      case 0:
        return `count() ${chance.of([...ORDER, '=', '!='])} ${chance.below(6)}`;
      case 1:
        return this.aggregate();
      case 2:
        return this.filter();
      case 3:
        return `select(${[0, ...chance.times(2)].map(() => this.name()).join(', ')})`;
      case 4:
        return `by(${this.groupKey()}) | coalesce()`;
      default:
        return `by(${this.groupKey()})`;
    }
  }

  private groupKey(): string {
    if (this.chance.once(6)) return this.comparison();
    if (this.chance.once(8)) return this.arithmetic(['int', 'duration']).text;
    return this.name();
  }

  private aggregate(): string {
    const field = this.ofType(NUMERIC);
    const name = this.chance.of(field.names);
    const argument = this.chance.once(5) ? `${name} * 2` : name;
    return `${this.chance.of(AGGREGATES)}(${argument}) ${this.chance.of(ORDER)} ${this.constant(field)}`;
  }

  /** Scalars know no names of limits. */
  private constant(field: RandomField): string {
    return this.chance.of(field.values.filter((value) => !value.endsWith('Int')));
  }

  private filter(): string {
    const { chance } = this;
    if (chance.once(10)) return chance.of(['{ }', '{}', '{ true }']);
    const inner = this.space() + this.condition(0) + this.space();
    return chance.once(6) ? `{${inner.trim()}\n}` : `{${inner}}`;
  }

  private condition(depth: number): string {
    const { chance } = this;
    if (depth >= DEPTH_MAX || chance.below(5) < 3) return this.comparison();
    if (chance.once(7)) return `${chance.once(2) ? '! ' : '!'}(${this.condition(depth + 1)})`;
    if (chance.once(5)) return `(${this.condition(depth + 1)})`;
    const op = chance.of(['&&', '&&', '||']);
    return this.condition(depth + 1) + this.space() + op + this.space() + this.condition(depth + 1);
  }

  private comparison(): string {
    const { chance } = this;
    const field = chance.of(this.fields);
    const name = chance.of(field.names);
    if (chance.once(14) && field.isIntrinsic !== true) {
      const op = chance.of(['!=', '!=', '=']);
      return chance.once(5) ? `nil ${op} ${name}` : `${name} ${op} nil`;
    }
    if (chance.once(30)) return chance.of(['true', 'false', '1 = 1.0', '"a" < "b"', '2 * 3 > 5', '1s > 3']);
    if (field.type === 'bool' && chance.once(4)) return chance.once(3) ? `!${name}` : name;
    if (NUMERIC.includes(field.type) && chance.once(5)) {
      const { text, field: of } = this.arithmetic(NUMERIC);
      return `${text} ${chance.of([...ORDER, '='])} ${chance.of(of.values)}`;
    }
    if (chance.once(12)) return this.twoFields(field, name);
    const value = chance.of(field.values);
    const op = this.operatorFor(field);
    if (op === '=~' || op === '!~') return `${name} ${op} ${this.pattern(value)}`;
    return chance.once(8) ? `${value} ${mirrored(op)} ${name}` : `${name} ${op} ${value}`;
  }

  private operatorFor({ type }: RandomField): string {
    const { chance } = this;
    if (type === 'string' || type === 'any') {
      return chance.once(3) ? chance.of(['=~', '=~', '!~', ...ORDER]) : chance.of(EQUAL);
    }
    if (type === 'bool' || type === 'status' || type === 'kind' || type === 'id') return chance.of(EQUAL);
    return chance.of([...ORDER, ...ORDER, ...EQUAL]);
  }

  private twoFields(field: RandomField, name: string): string {
    const op = this.operatorFor(field);
    const other = this.ofType([field.type]);
    return `${name} ${op} ${this.chance.of(other.names)}`;
  }

  /** A pattern; sometimes the value itself, which needs no engine. */
  private pattern(value: string): string {
    const { chance } = this;
    if (chance.once(4) && value.startsWith('"')) return value;
    const text = chance.of(this.patterns);
    return chance.once(3) ? `\`${text}\`` : `"${text}"`;
  }

  private arithmetic(types: readonly FieldType[]): { text: string; field: RandomField } {
    const { chance } = this;
    const field = this.ofType(types);
    const name = chance.of(field.names);
    const value = chance.of(field.values);
    const text = chance.of([
      `${name} + ${value}`,
      `${name} - ${value}`,
      `${name} * 2`,
      `2 * ${name}`,
      `${name} / 3`,
      `${name} % 7`,
      `-${name}`,
      `(${name} + 1) * 2`,
      `${name} + ${chance.of(this.ofType([field.type]).names)}`,
      `${value} + ${value} - ${name}`,
    ]);
    return { text, field };
  }
}

function mirrored(op: string): string {
  return op.startsWith('<') ? op.replace('<', '>') : op.startsWith('>') ? op.replace('>', '<') : op;
}
