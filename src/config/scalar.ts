// What the text of a YAML scalar means, as Go's YAML 1.1 reader has it: `yes` and `on` are booleans, `1_000`
// is a number.

/** @returns undefined when the text is no boolean. */
export function parseBool(text: string): boolean | undefined {
  if (/^(y|Y|yes|Yes|YES|on|On|ON|true|True|TRUE)$/.test(text)) return true;
  return /^(n|N|no|No|NO|off|Off|OFF|false|False|FALSE)$/.test(text) ? false : undefined;
}

/** @returns undefined when the text is no whole number. */
export function parseInteger(text: string): number | undefined {
  const match = /^([-+]?)(0b[01_]+|0x[0-9a-fA-F_]+|0o[0-7_]+|[0-9][0-9_]*)$/.exec(text);
  if (match === null) {
    const value = parseFloating(text);
    return Number.isInteger(value) ? value : undefined;
  }
  const digits = (match[2] as string).replaceAll('_', '');
  const value = /^0[0-7]+$/.test(digits) ? Number(`0o${digits}`) : Number(digits);
  return match[1] === '-' ? -value : value;
}

/** @returns undefined when the text is no number. */
export function parseFloating(text: string): number | undefined {
  const special = /^([-+]?)\.(inf|Inf|INF)$/.exec(text);
  if (special !== null) return special[1] === '-' ? -Infinity : Infinity;
  if (/^[-+]?0[box]/.test(text)) return parseInteger(text);
  if (!/^[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?$/.test(text)) return undefined;
  return Number(text.replaceAll('_', ''));
}

/** A scalar that no field describes: null, boolean, number or text. */
export function parseAny(text: string, quoted: boolean): unknown {
  if (quoted) return text;
  if (/^(|~|null|Null|NULL)$/.test(text)) return null;
  return parseBool(text) ?? parseInteger(text) ?? parseFloating(text) ?? text;
}
