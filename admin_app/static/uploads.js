// Sending one picture, and what to say when it was not taken.

const SIGNED_OUT = "You were signed out. Sign in in another tab, then try again.";
const GONE = "You may not add pictures here any more, or this is gone.";
const WHY = {
  0: "It did not arrive. Check the connection, then try again.",
  401: SIGNED_OUT,
  403: GONE,
  404: GONE,
  413: "This file has more than 20 MB.",
};
const OTHERWISE = "It could not be stored just now. Try again.";
const FOR_GOOD = new Set([403, 404, 413, 422]);

// Resolves with `picture`, or with a `message` and whether the same may work later. `progress` gets 0 to 1.
export const send = (url, name, value, progress = () => {}, signal = null) =>
  new Promise((resolve) => {
    const body = new FormData();
    body.append(name, value);
    const request = new XMLHttpRequest();
    request.open("POST", url);
    request.upload.addEventListener("progress", ({ loaded, total }) => progress(total ? loaded / total : 0));
    request.addEventListener("loadend", () => resolve(answerOf(request)));
    signal?.addEventListener("abort", () => request.abort());
    request.send(body);
  });

const answerOf = ({ status, responseText }) => {
  let told = null;
  try {
    told = JSON.parse(responseText);
  } catch {
    // A page, of which the status says enough.
  }
  if (status === 201 && told) return { picture: told };
  return { message: told?.message ?? WHY[status] ?? OTHERWISE, mayWork: !FOR_GOOD.has(status) };
};
