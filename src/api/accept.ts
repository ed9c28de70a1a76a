// In which form a client wants its answer.

export type AnswerFormat = 'protobuf' | 'json' | 'llm';

export const CONTENT_TYPES: Readonly<Record<AnswerFormat, string>> = {
  protobuf: 'application/protobuf',
  json: 'application/json',
  llm: 'application/vnd.grafana.llm+json',
};

/** The first of these that the Accept header names anywhere; JSON when it names none. */
export function answerFormat(accept: string | undefined): AnswerFormat {
  if (accept === undefined) return 'json';
  if (accept.includes('application/protobuf')) return 'protobuf';
  if (accept.includes('application/json')) return 'json';
  return accept.includes('application/vnd.grafana.llm') ? 'llm' : 'json';
}
