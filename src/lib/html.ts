// Text inside HTML, and plain pages of it.

export function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
}

/** A page as Tempo's status pages look. @param content as HTML. */
export function htmlPage(title: string, now: Date, content: string): string {
  return `<!DOCTYPE html>
<html>
<head><meta charset="UTF-8"><title>${title}</title></head>
<body>
<h1>${title}</h1>
<p>Current time: ${now.toISOString()}</p>
${content}
</body>
</html>
`;
}
