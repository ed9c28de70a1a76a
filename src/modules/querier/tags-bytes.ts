// Answers of jobs for tags as bytes, for a cache outside the process: JSON.
import type { TagsJobResult } from '../../store/scan-job.ts';
import type { AnswerCodec } from './outer-answers.ts';

export const TAGS_CODEC: AnswerCodec<TagsJobResult> = {
  kind: 'tags',
  version: 1,
  encode: (result) => [Buffer.from(JSON.stringify(result))],
  decode: (bytes) => JSON.parse(Buffer.from(bytes).toString()) as TagsJobResult,
};
