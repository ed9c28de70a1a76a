// A thread that has the allocator give free memory back to the system, and ends: it may take a hundred
// milliseconds, in which nobody could be served. Only glibc has something to call.
import ffi from 'node:ffi';

const { functions } = ffi.dlopen(null, { malloc_trim: { arguments: ['u64'], return: 'i32' } });
functions.malloc_trim(0n);
