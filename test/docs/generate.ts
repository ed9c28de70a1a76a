// `npm run docs`: writes the generated pages of docs/reference.
import { writeFileSync } from 'node:fs';
import { referencePages } from './pages.ts';

for (const [path, text] of referencePages()) writeFileSync(path, text);
