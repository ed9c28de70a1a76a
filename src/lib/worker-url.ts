// Where the code of a worker thread is: beside the module that starts it, as .ts from source and as .js
// when built.

/** @param moduleUrl `import.meta.url` of the caller. */
export function workerUrl(name: string, moduleUrl: string): URL {
  const extension = moduleUrl.slice(moduleUrl.lastIndexOf('.'));
  return new URL(`./${name}${extension}`, moduleUrl);
}
