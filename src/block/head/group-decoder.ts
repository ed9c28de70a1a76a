// Decodes resources and scopes into the vectors of a head, each distinct one once: they are told apart by
// their bytes.
import { Tag } from '../../model/otlp/encode.ts';
import type { AttributeDecoder } from './attribute-decoder.ts';
import type { Dictionary } from './dictionary.ts';
import { AttrType, type HeadVecName } from './layout.ts';
import type { VecWriter } from './vec.ts';
import type { WireReader } from './wire.ts';

const SERVICE_NAME = new TextEncoder().encode('service.name');

export class GroupDecoder {
  private readonly vecs: Record<HeadVecName, VecWriter>;
  private readonly attributes: AttributeDecoder;
  private readonly strings: Dictionary;
  private readonly wire: WireReader;
  private readonly serviceNameKey: number;
  /** From the string id of the wire bytes to the ordinal. */
  private readonly resources = new Map<number, number>();
  private readonly scopes = new Map<number, number>();

  constructor(
    vecs: Record<HeadVecName, VecWriter>,
    attributes: AttributeDecoder,
    keys: Dictionary,
    strings: Dictionary,
    wire: WireReader,
  ) {
    this.vecs = vecs;
    this.attributes = attributes;
    this.strings = strings;
    this.wire = wire;
    this.serviceNameKey = keys.intern(SERVICE_NAME, 0, SERVICE_NAME.length);
  }

  /** The ordinal of the Resource in [start, end). What is malformed in it is left out and counted. */
  resource(b: Uint8Array, start: number, end: number): number {
    const bytes = this.strings.intern(b, start, end - start);
    const known = this.resources.get(bytes);
    if (known !== undefined) return known;
    const { resourceAttrKey: keys, resourceAttrValue: values } = this.vecs;
    const ordinal = this.vecs.resourceService.count;
    this.resources.set(bytes, ordinal);
    this.vecs.resourceAttrStart.push(keys.count);
    let dropped = 0;
    let service = -1;
    for (let p = start; p < end; ) {
      const tag = b[p]!;
      const next = this.wire.skip(b, p, end);
      if (next < 0) {
        this.wire.malformed++;
        break;
      }
      if (tag === Tag.resource.attributes) {
        const last = keys.count;
        this.attribute(b, p, next, keys, values);
        const isService =
          keys.count > last && keys.get(last) === ((this.serviceNameKey << 4) | AttrType.string);
        if (isService) service = values.get(last);
      } else if (tag === Tag.resource.droppedAttributesCount) {
        dropped = this.wire.varint(b, p + 1);
      }
      p = next;
    }
    this.vecs.resourceService.push(service);
    this.vecs.resourceDropped.push(dropped);
    return ordinal;
  }

  /** The ordinal of the InstrumentationScope in [start, end), as `resource`. */
  scope(b: Uint8Array, start: number, end: number): number {
    const bytes = this.strings.intern(b, start, end - start);
    const known = this.scopes.get(bytes);
    if (known !== undefined) return known;
    const { scopeAttrKey: keys, scopeAttrValue: values } = this.vecs;
    const ordinal = this.vecs.scopeName.count;
    this.scopes.set(bytes, ordinal);
    this.vecs.scopeAttrStart.push(keys.count);
    let name = 0;
    let version = 0;
    let dropped = 0;
    for (let p = start; p < end; ) {
      const tag = b[p]!;
      const next = this.wire.skip(b, p, end);
      if (next < 0) {
        this.wire.malformed++;
        break;
      }
      if (tag === Tag.scope.name) name = this.string(b, p, next);
      else if (tag === Tag.scope.version) version = this.string(b, p, next);
      else if (tag === Tag.scope.attributes) this.attribute(b, p, next, keys, values);
      else if (tag === Tag.scope.droppedAttributesCount) dropped = this.wire.varint(b, p + 1);
      p = next;
    }
    this.vecs.scopeName.push(name);
    this.vecs.scopeVersion.push(version);
    this.vecs.scopeDropped.push(dropped);
    return ordinal;
  }

  private string(b: Uint8Array, p: number, next: number): number {
    this.wire.varint(b, p + 1);
    return this.strings.intern(b, this.wire.next, next - this.wire.next);
  }

  private attribute(b: Uint8Array, p: number, next: number, keys: VecWriter, values: VecWriter): void {
    this.wire.varint(b, p + 1);
    if (!this.attributes.decode(b, this.wire.next, next, keys, values)) this.wire.malformed++;
  }
}
