// What does not fit, on the page or in the dialog that covers it: a page that is wider than its window, text that is cut off, and text that lies over other
// text, and short words that are broken in two. A list of sentences, empty where everything can be read.
const wrong = [];
const LEEWAY_PX = 1.5; // Boxes of lines of text may touch.
const WORD_MAX = 21; // Letters of a word that is never broken: an address with its port.

const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
if (wide > 0) {
  const out = all('body *').filter((element) => seen(element) && element.getBoundingClientRect().right > innerWidth + 1);
  const inner = out.filter((element) => !out.some((other) => other !== element && element.contains(other)));
  wrong.push(`the page is ${wide} px wider than its window: ${inner.slice(0, 3).map(place).join(', ')}`);
}

/** The part of `box` that is seen: what scrolls or hides around it cuts it. */
function cut(box, element) {
  let {left, top, right, bottom} = box;
  for (let at = element; at && at !== document.body; at = at.parentElement) {
    if (getComputedStyle(at).overflow === 'visible') continue;
    const frame = at.getBoundingClientRect();
    [left, top] = [Math.max(left, frame.left), Math.max(top, frame.top)];
    [right, bottom] = [Math.min(right, frame.right), Math.min(bottom, frame.bottom)];
  }
  return {left, top, right, bottom};
}

for (const element of all('*', here())) {
  const style = getComputedStyle(element);
  if (!seen(element) || element.closest('svg')) continue;
  const hides = [style.overflowX, style.overflowY].some((way) => ['hidden', 'clip'].includes(way));
  const more = element.scrollWidth > element.clientWidth + 1 || element.scrollHeight > element.clientHeight + 1;
  if (hides && more && style.textOverflow !== 'ellipsis') wrong.push(`${place(element)} is cut off`);
  const scrolls = [style.overflowX, style.overflowY].some((way) => ['auto', 'scroll'].includes(way));
  if (scrolls && more && element.tabIndex < 0 && !element.matches('textarea, select') && !element.querySelector(USABLE)) {
    wrong.push(`${place(element)} scrolls, but not for those with a keyboard`);
  }
}

for (const text of all('svg text', here())) {
  const [box, frame] = [text.getBoundingClientRect(), (text.closest('figure') ?? text.ownerSVGElement).getBoundingClientRect()];
  const out = box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1;
  if (out && seen(text)) wrong.push(`${place(text)} leaves its picture`);
}

const lines = [];
const walker = document.createTreeWalker(here(), NodeFilter.SHOW_TEXT);
for (let text = walker.nextNode(); text; text = walker.nextNode()) {
  const element = text.parentElement;
  if (!squeezed(text.data) || !seen(element) || element.closest('title, desc, option, script, style, noscript')) continue;
  const range = document.createRange();
  const runs = new Set(text.data.split(/\s+/).filter((run) => run.length > WORD_MAX).flatMap((run) => run.match(/[\w.:]+/g) ?? []));
  for (const {0: word, index} of text.data.matchAll(/[\w.:]+/g)) {
    if (runs.has(word)) continue; // A part of what is too long for a line.
    range.setStart(text, index);
    range.setEnd(text, index + word.length);
    const tops = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
    if (word.length <= WORD_MAX && tops.size > 1 && !element.closest('pre')) wrong.push(`"${word}" is broken`);
  }
  range.selectNodeContents(text);
  for (const box of range.getClientRects()) {
    const part = cut(box, element);
    if (part.right - part.left > 1 && part.bottom - part.top > 1) lines.push({...part, element, text: squeezed(text.data)});
  }
}
lines.sort((one, other) => one.top - other.top);
lines.forEach((one, at) => {
  for (const other of lines.slice(at + 1)) {
    if (other.top > one.bottom) break;
    if (other.element === one.element && other.text === one.text) continue;
    const wide = Math.min(one.right, other.right) - Math.max(one.left, other.left);
    const high = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
    const most = Math.min(one.bottom - one.top, other.bottom - other.top) * 0.3; // Lines may be set close.
    if (wide > LEEWAY_PX && high > Math.max(LEEWAY_PX, most)) wrong.push(`"${one.text.slice(0, 40)}" lies over "${other.text.slice(0, 40)}"`);
  }
});
return [...new Set(wrong)].slice(0, 20);
