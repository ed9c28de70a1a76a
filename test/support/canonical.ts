// The form of an answer that does not depend on order is that of tempo-cli; the golden files have it, too.
export { canonical, canonicalTrace } from '../../cmd/tempo-cli/canonical.ts';
