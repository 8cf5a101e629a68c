// One line that says what just happened, seen and read aloud, and gone after a while.

const SHOWN_MS = 6000;

let timer;

export function notice(text, tone = "good") {
  const line = document.getElementById("notice");
  clearTimeout(timer);
  line.dataset.tone = tone;
  line.textContent = text;
  timer = setTimeout(() => {
    line.textContent = "";
  }, SHOWN_MS);
}
