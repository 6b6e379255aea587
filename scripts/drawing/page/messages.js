// The message at the top of the page: an error, or a note.

const box = document.getElementById("message");
let since = 0; // when it was shown

// Show an error, until what failed succeeds.
export function complain(error) {
  show(error.message, false);
}

// Say something that stays until the next image.
export function note(text) {
  show(text, true);
  since = Infinity;
}

function show(text, isNote) {
  box.firstElementChild.textContent = text;
  box.classList.toggle("note", isNote);
  box.hidden = false;
  since = performance.now();
}

export function settled() {
  box.hidden = true;
}

// A translation that began after the message was shown has succeeded.
export function succeeded(began) {
  if (began > since) settled();
}

box.querySelector("button").addEventListener("click", settled);
