// What the page asks of the server: the run, examples, opened images, translations.

// `body` is a file, or a painting.
export async function ask(address, body) {
  let answer;
  if (body?.sheet) body = await body.file();
  try {
    answer = await fetch(address, body === undefined ? {} : { method: "POST", body });
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  if (answer.ok) return answer;
  let why = answer.statusText;
  try { why = (await answer.json()).error; } catch { /* not one of our errors */ }
  throw Object.assign(new Error(why), { status: answer.status });
}
