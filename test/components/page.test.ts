// A real browser opens the page: what strangers put into spans stays text, every state can be reached by
// keyboard and by address, and all of it is small. SCREENSHOTS names a folder for pictures.
import { join } from 'node:path';
import { type Browser, chromium, type Page } from 'playwright-core';
import t, { type Test } from 'tap';
import { connectOtlp } from '../../src/rpc/otlp-client.ts';
import { aResource, aScope, aSpan, aTrace, type Attribute, encodeTraces, hexId } from '../support/otlp.ts';
import { type RunningTempo, startTempo } from '../support/server.ts';
import { componentPath } from './component.ts';
import { testFolder } from '../support/test-folder.ts';

const BYTES_MAX = 30_000;
const WIDE = { width: 1280, height: 800 };
const NARROW = { width: 390, height: 844 };
const LONG = `long ${'A'.repeat(100_000)}`;
const HOSTILE = [
  '<img src=x onerror=alert(1)>',
  '"><script>alert(1)</script>',
  "'-alert(1)-'",
  '</title></style></textarea><svg onload=alert(1)>',
  'javascript:alert(1)',
  '\u202Etxt.exe \u2066 \u05E9\u05DC\u05D5\u05DD',
  '{{facts}} ${alert(1)} &lt;b&gt;',
  'a\nb\tc\u0000d\u{1F41B}',
  LONG,
];
const HOSTILE_ID = 'abc'.padStart(32, '0');
const LARGE_ID = hexId(0x1a46e, 16);
const LARGE_SPANS = 5000;

const nowNano = (): bigint => BigInt(Date.now()) * 1_000_000n;

/** A root, and below it one span for each text, which stands wherever a text can. */
function hostileTrace(): Uint8Array {
  const begin = nowNano() - 1_000_000_000n;
  const spans = HOSTILE.map((text, at) => {
    const attributes: Attribute[] = [
      [text, text],
      ['__proto__', text],
      ['list', [text, 1n, true]],
      ['map', { kv: [[text, text]] }],
    ];
    return aSpan({
      traceId: HOSTILE_ID,
      spanId: hexId(at + 2, 8),
      parentSpanId: hexId(1, 8),
      name: text,
      startUnixNano: begin + BigInt(at) * 1_000_000n,
      endUnixNano: begin + BigInt(at) * 1_000_000n + 5_000_000n,
      attributes,
      events: [{ timeUnixNano: begin, name: text, attributes, droppedAttributes: 0 }],
      links: [
        { traceId: hexId(77, 16), spanId: hexId(7, 8), traceState: '', attributes, droppedAttributes: 0 },
      ],
      status: { code: 2, message: text },
      resource: aResource(text, [[text, text]]),
      scope: aScope(text, text),
    });
  });
  const root = aSpan({
    traceId: HOSTILE_ID,
    name: HOSTILE[0] ?? '',
    startUnixNano: begin,
    endUnixNano: begin + 200_000_000n,
    resource: aResource(HOSTILE[1]),
  });
  return encodeTraces([root, ...spans]);
}

function largeTrace(): Uint8Array {
  const begin = nowNano() - 2_000_000_000n;
  return encodeTraces(
    aTrace(0x1a46e, LARGE_SPANS, (i) => ({
      startUnixNano: begin + BigInt(i) * 1000n,
      endUnixNano: begin + BigInt(i) * 1000n + 9_000_000n,
    })),
  );
}

async function send(tempo: RunningTempo, requests: readonly Uint8Array[], tenant = ''): Promise<void> {
  const client = await connectOtlp(`http://127.0.0.1:${tempo.ports.otlpGrpc}`, { tenant });
  for (const request of requests) await client.send(request);
  client.close();
}

interface Watched {
  readonly page: Page;
  /** Dialogs, errors, violations of the policy, requests to others. */
  readonly trouble: string[];
  /** Bytes of the page's own files, as they were sent. */
  readonly ownBytes: () => Promise<number>;
}

async function open(browser: Browser, origin: string, size = WIDE, dark = false): Promise<Watched> {
  const colorScheme = dark ? 'dark' : 'light';
  const context = await browser.newContext({ viewport: size, colorScheme, locale: 'en-GB' });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  const trouble: string[] = [];
  const sizes: Promise<number>[] = [];
  page.on('dialog', (dialog) => {
    trouble.push(`dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('pageerror', (err) => trouble.push(`error: ${err.message}`));
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) trouble.push(`${message.type()}: ${message.text()}`);
  });
  page.on('requestfinished', (request) => {
    if (!request.url().startsWith(origin)) trouble.push(`foreign request: ${request.url()}`);
    if (request.url().includes('/api/')) return;
    const size = request.sizes().then(({ responseBodySize }) => responseBodySize);
    // A page that closes takes the sizes of its last requests along: only ownBytes is to fail of it.
    size.catch(() => undefined);
    sizes.push(size);
  });
  const ownBytes = async (): Promise<number> =>
    (await Promise.all(sizes)).reduce((sum, bytes) => sum + bytes, 0);
  return { page, trouble, ownBytes };
}

async function shot(page: Page, name: string): Promise<void> {
  const folder = process.env['SCREENSHOTS'];
  if (folder !== undefined) await page.screenshot({ path: join(folder, `${name}.png`) });
}

/** Nothing reaches beyond the sides, at any width. */
async function fits(t: Test, page: Page, name: string): Promise<void> {
  const beyond = await page.evaluate<number>('document.documentElement.scrollWidth - innerWidth');
  t.ok(beyond <= 0, `${name} fits its width`);
}

/** Only the page's own elements are there. */
async function isClean(t: Test, { page, trouble }: Watched, name: string): Promise<void> {
  t.equal(
    await page.locator('img:not(.brand img), svg, iframe, style, object').count(),
    0,
    `${name}: no markup`,
  );
  t.equal(await page.locator('script').count(), 1, `${name}: no script but ours`);
  t.same(trouble, [], name);
}

async function launch(t: Test): Promise<Browser> {
  const browser = await chromium.launch({
    executablePath: componentPath('CHROMIUM'),
    args: ['--no-sandbox'],
  });
  t.teardown(() => browser.close());
  return browser;
}

/** Rows are drawn again between the button's going down and up. */
async function clickWhileScrolling(page: Page, row: string): Promise<void> {
  await page.locator(row).hover();
  await page.mouse.down();
  await page.evaluate(
    `new Promise((done) => {
      addEventListener('scroll', () => requestAnimationFrame(() => done()), { once: true });
      scrollBy(0, 4);
    })`,
  );
  await page.mouse.up();
}

t.setTimeout(180_000);

t.test('hostile spans stay text, at both widths and in both schemes', async (t) => {
  const browser = await launch(t);
  const tempo = await startTempo(testFolder(t));
  t.teardown(() => tempo.kill());
  await send(tempo, [hostileTrace(), largeTrace()]);
  for (const [name, size, dark] of [
    ['wide', WIDE, false],
    ['narrow', NARROW, true],
  ] as const) {
    const watched = await open(browser, tempo.url, size, dark);
    const { page } = watched;
    await page.goto(tempo.url);
    await page.locator('.traces a').nth(1).waitFor();
    t.equal(await page.locator('h1').textContent(), 'Last traces');
    t.match(await page.locator('.traces').textContent(), HOSTILE[0]);
    await fits(t, page, `list ${name}`);
    await isClean(t, watched, `list ${name}`);
    await shot(page, `list-${name}`);

    await page.fill('#q', '{ status = error }');
    await page.press('#q', 'Enter');
    await page.locator('.traces a', { hasText: `${HOSTILE.length} matched` }).click();
    await page.locator('.row').nth(HOSTILE.length).waitFor();
    t.match(await page.title(), `${HOSTILE[0]} · Tempo`);
    const rows = await page.locator('.row .name').allTextContents();
    t.same(rows.slice(1, -1), HOSTILE.slice(0, -1), 'names as they were sent');
    t.match(rows.at(-1), /^long A+…$/, 'but for the long one');
    await fits(t, page, `trace ${name}`);
    await isClean(t, watched, `trace ${name}`);
    await shot(page, `trace-${name}`);

    for (const [at, text] of HOSTILE.entries()) {
      await page
        .locator('.row')
        .nth(at + 1)
        .click();
      const details = page.locator('.details');
      await details.getByText('Span attributes').waitFor();
      const shown = (await details.textContent()) ?? '';
      const times = shown.split(text.slice(0, 100)).length - 1;
      t.ok(times >= 8, `text ${at} is shown in every place (${times})`);
      await fits(t, page, `span ${at} ${name}`);
      if (at === 1) await shot(page, `span-${name}`);
      await details.getByLabel('Close the span').click();
    }
    await isClean(t, watched, `spans ${name}`);
    await page.locator('.back').click();
    await page.locator('.traces a', { hasText: `${HOSTILE.length} matched` }).waitFor();
    t.equal(await page.locator('#q').inputValue(), '{ status = error }', 'back to the same search');
    if (name === 'wide')
      t.ok((await watched.ownBytes()) < BYTES_MAX, `${await watched.ownBytes()} bytes as sent`);
    await page.context().close();
  }
});

t.test('a large trace has few elements, and the keyboard goes everywhere', async (t) => {
  const browser = await launch(t);
  const tempo = await startTempo(testFolder(t));
  t.teardown(() => tempo.kill());
  await send(tempo, [largeTrace()]);
  const watched = await open(browser, tempo.url);
  const { page } = watched;
  await page.goto(`${tempo.url}/?trace=${LARGE_ID}`);
  await page.locator('#row-0').waitFor();
  const key = (name: string): Promise<void> => page.keyboard.press(name);
  const current = (): Promise<string> =>
    page.evaluate<string>(
      `document.getElementById(document.activeElement?.getAttribute('aria-activedescendant'))?.id ?? 'none'`,
    );
  t.match(await page.locator('.sum').textContent(), '5,000 spans');
  t.ok((await page.locator('.row').count()) < 100, 'only rows in sight exist');
  await clickWhileScrolling(page, '#row-3');
  await page.locator('.details h2').waitFor();
  t.equal(await page.locator('.row.open').getAttribute('id'), 'row-3', 'a click amid scrolling counts');
  await key('Escape');
  await key('Home');
  await key('ArrowDown');
  t.equal(await current(), 'row-1');
  await key('End');
  t.equal(await current(), `row-${LARGE_SPANS - 1}`);
  t.ok((await page.locator('.row').count()) < 100);
  await key('Enter');
  await page.locator('.details h2').waitFor();
  t.equal(
    await page.locator('.details h2').textContent(),
    await page.locator('.row.open .name').textContent(),
  );
  await shot(page, 'large-end');
  await key('Escape');
  t.notOk(await page.locator('.details').isVisible(), 'Escape closes');
  await key('Home');
  t.equal(await page.locator('#row-0').getAttribute('aria-expanded'), 'true');
  await key('ArrowLeft');
  t.equal(await page.locator('.row').count(), 1, 'all below is folded');
  await key('ArrowRight');
  t.equal(await page.locator('#row-0').getAttribute('aria-expanded'), 'true');
  await key('ArrowRight');
  await key('ArrowDown');
  await key('ArrowLeft');
  t.equal(await page.locator('#row-2').getAttribute('aria-expanded'), 'false');
  await key('ArrowLeft');
  t.equal(await current(), 'row-1', 'to the parent');

  await page.locator('.back').focus();
  await key('Enter');
  await page.locator('.traces a').first().waitFor();
  t.equal(new URL(page.url()).search, '');
  await page.goBack();
  await page.locator('#row-0').waitFor();
  await page.locator('#trace').focus();
  await page.fill('#trace', `0x${LARGE_ID.toUpperCase()} `);
  await key('Enter');
  await page.locator('#row-0').waitFor();
  await isClean(t, watched, 'keyboard');
  await page.context().close();
});

t.test('nothing yet, nothing found, mistakes, and no server', async (t) => {
  const browser = await launch(t);
  const tempo = await startTempo(testFolder(t));
  t.teardown(() => tempo.kill());
  const { page, trouble } = await open(browser, tempo.url, NARROW);
  await page.goto(tempo.url);
  await page.locator('h1', { hasText: 'No traces yet' }).waitFor();
  const send = await page.locator('#send').textContent();
  t.match(send, `http://127.0.0.1:${tempo.ports.otlpGrpc}`);
  t.match(send, `export OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:${tempo.ports.otlpHttp}`);
  await fits(t, page, 'empty');
  await shot(page, 'empty-narrow');
  await page.getByText('Look in the last day').click();
  await page.waitForURL(/since=86400/);
  t.equal(await page.locator('#since').inputValue(), '86400');
  t.same(trouble, []);

  await page.goto(`${tempo.url}/?q=${encodeURIComponent('{ nmae = "x" }')}`);
  const failure = page.locator('.failure');
  t.match(await failure.locator('h1').textContent(), 'The server refused this (400)');
  t.match(await failure.locator('pre').textContent(), 'unknown identifier: nmae');
  await shot(page, 'mistake-narrow');
  await page.goto(`${tempo.url}/?trace=${'12'.repeat(16)}`);
  await page.locator('h1', { hasText: 'Not found' }).waitFor();
  await page.goto(`${tempo.url}/?trace=nonsense`);
  t.match(await failure.locator('pre').textContent(), 'trace');
  t.equal(trouble.filter((line) => !line.includes('status of 400')).length, 0, trouble.join('\n'));
  await page.goto(`${tempo.url}/?q=%7B%7D`);
  await page.locator('h1', { hasText: 'No traces yet' }).waitFor();
  await tempo.kill();
  await page.locator('#search button').click();
  await page.locator('h1', { hasText: 'The server did not answer' }).waitFor();
  await page.context().close();
});

t.test('a server of many tenants, with a prefix', async (t) => {
  const yaml = 'multitenancy_enabled: true\nhttp_api_prefix: /tempo\n';
  const browser = await launch(t);
  const tempo = await startTempo(testFolder(t), { yaml });
  t.teardown(() => tempo.kill());
  await send(tempo, [hostileTrace()], 'team-a');
  const { page } = await open(browser, tempo.url);
  await page.goto(tempo.url);
  await page.getByText('Name the tenant above').waitFor();
  await page.fill('#tenant', 'team-a');
  await page.press('#tenant', 'Enter');
  await page.locator('.traces a').click();
  await page.locator('#row-0').waitFor();
  t.equal(new URL(page.url()).searchParams.get('tenant'), 'team-a');
  await page.locator('.back').click();
  await page.locator('.traces a').waitFor();
  await page.fill('#tenant', 'team-b');
  await page.press('#tenant', 'Enter');
  await page.locator('h1', { hasText: 'No traces yet' }).waitFor();
  t.match(await page.locator('#send').textContent(), 'OTEL_EXPORTER_OTLP_HEADERS=X-Scope-OrgID=team-b');
  await shot(page, 'tenants');
  await page.context().close();
});
