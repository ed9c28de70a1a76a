// The builder thread with a defect: requests with the text "fatal" end it.
import { Buffer } from 'node:buffer';
import { Builder, type PushFrame } from '../../src/modules/ingester/builder.ts';

const whole = Object.getOwnPropertyDescriptor(Builder.prototype, 'take')!.value as (frame: PushFrame) => void;
Builder.prototype.take = function (frame: PushFrame): void {
  if (Buffer.from(frame.bytes.subarray(frame.start, frame.end)).includes('fatal')) process.exit(1);
  whole.call(this, frame);
};

await import('../../src/modules/ingester/builder-worker.ts');
