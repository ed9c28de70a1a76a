// The block_builder block.
import { block, duration, int, list, map, text } from '../../config/field.ts';
import { HOSTNAME } from '../../config/shared-blocks.ts';
import { blockFields, walFields } from '../../store/config.ts';

export const blockBuilderFields = {
  instance_id: text(HOSTNAME, 'ring id', { flag: 'block-builder.instance-id' }),
  assigned_partitions: map(list(int(0, 'partition'), [], 'partitions'), {}, 'partitions of each instance', {
    flag: 'block-builder.assigned-partitions',
  }),
  partitions_per_instance: int(0, 'alternative to the map', {
    flag: 'block-builder.partitions-per-instance',
  }),
  consume_cycle_duration: duration('5m', 'cycle', { flag: 'block-builder.consume-cycle-duration' }),
  max_consuming_bytes: int(5_000_000_000, 'per cycle', { flag: 'block-builder.max-bytes-per-cycle' }),
  block: block(
    {
      max_block_bytes: int(20_971_520, 'block size', { flag: 'block-builder.block.max-block-bytes' }),
      ...blockFields,
    },
    'new blocks',
    { flagPrefix: 'block-builder.block.trace.block.' },
  ),
  wal: block(walFields('/var/tempo/block-builder/traces', 'block-builder.wal.path')),
};
