// Server-sent events read from a body (https://html.spec.whatwg.org/multipage/server-sent-events.html):
// EventSource can't send a token. An id without data moves the place on and is no event.

/** Frames as {id, event, data, retry}, what is not there left out. */
export async function* frames(body, heard = () => {}) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let frame = {};
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (Object.keys(frame).length) yield frame;
          frame = {};
        } else take(frame, line);
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function take(frame, line) {
  const place = line.indexOf(":");
  if (place <= 0) return; // A comment, or a field without a value.
  const name = line.slice(0, place);
  const value = line.slice(place + 1).replace(/^ /, "");
  if (name === "data") frame.data = frame.data === undefined ? value : `${frame.data}\n${value}`;
  else frame[name] = value;
}
