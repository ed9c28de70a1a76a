// Texts of strangers in log lines, which must not be as long as strangers like.

export function shortened(text: string, lengthMax: number): string {
  return text.length <= lengthMax ? text : `${text.slice(0, lengthMax)}...`;
}
