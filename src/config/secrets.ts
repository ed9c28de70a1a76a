// Secrets in values that no description knows: found by the names of their keys, and not shown.

export const SECRET = '<secret>';

const SECRET_KEYS = [
  'passw',
  'secret',
  'token',
  'credential',
  'authorization',
  'bearer',
  '(api|access|account|encryption)[-_]?key',
  '^headers$',
];
const IS_SECRET_KEY = new RegExp(SECRET_KEYS.join('|'), 'i');
/** Where a secret is, is none. */
const IS_PLACE = /[-_](file|path|url|ref)$/i;
/** A password in a URL. */
const USERINFO = /(^[a-z][a-z0-9+.-]*:\/\/[^/@:\s]*:)[^@/\s]*(?=@)/i;

/** @returns the value with `<secret>` in place of what nobody should see. */
export function withoutSecrets(value: unknown): unknown {
  if (typeof value === 'string') {
    return value.includes('PRIVATE KEY') ? SECRET : value.replace(USERINFO, `$1${SECRET}`);
  }
  if (Array.isArray(value)) return value.map(withoutSecrets);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]): [string, unknown] => {
      const isSecret = IS_SECRET_KEY.test(key) && !IS_PLACE.test(key);
      return [key, isSecret ? hidden(item) : withoutSecrets(item)];
    }),
  );
}

/** The shape stays: which headers are set is worth knowing. */
function hidden(value: unknown): unknown {
  if (value === null || value === '') return value;
  if (typeof value !== 'object') return SECRET;
  if (Array.isArray(value)) return value.map(hidden);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, hidden(item)]));
}
