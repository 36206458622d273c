// What the other scripts share: which elements can be seen and used, and what they are called.

const squeezed = (text) => (text || '').replace(/\s+/g, ' ').trim();
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const USABLE = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex], [contenteditable]';

/** Where people are: in the dialog that covers the page, if one does. */
const here = () => document.querySelector('dialog:modal') ?? document.body;

/** Whether people see it: drawn, and larger than what is there for screen readers only. */
function seen(element) {
  const {width, height} = element.getBoundingClientRect();
  return element.checkVisibility({visibilityProperty: true, opacityProperty: true}) && width > 1 && height > 1;
}

/** The text in an element as it is read aloud. */
function spoken(node) {
  if (node.nodeType === Node.TEXT_NODE) return node.data;
  if (node.nodeType !== Node.ELEMENT_NODE || node.getAttribute('aria-hidden') === 'true') return '';
  if (node.hidden || ['SCRIPT', 'STYLE'].includes(node.tagName)) return '';
  const own = node.getAttribute('aria-label') || (node.tagName === 'IMG' && node.alt);
  if (own) return own;
  if (node.tagName === 'svg') return node.querySelector(':scope > title')?.textContent || '';
  const block = getComputedStyle(node).display.startsWith('inline') ? '' : ' ';
  return block + [...node.childNodes].map(spoken).join('') + block;
}

/** What a control, an image or a landmark is called. */
function called(element) {
  const refer = (attribute) => (element.getAttribute(attribute) || '').split(/\s+/).filter(Boolean)
    .map((id) => document.getElementById(id)).filter(Boolean).map(spoken).join(' ');
  const labels = [...(element.labels || [])].map(spoken).join(' ');
  const pushed = ['submit', 'button', 'reset'].includes(element.type) && element.tagName === 'INPUT';
  const inner = ['INPUT', 'SELECT', 'TEXTAREA'].includes(element.tagName) ? '' : spoken(element);
  return squeezed(refer('aria-labelledby') || element.getAttribute('aria-label') || labels
    || (pushed && element.value) || inner);
}

/** Where it is, for people who mend it. */
function place(element) {
  const id = element.id ? `#${element.id}` : '';
  const kind = element.getAttribute('class') ? `.${element.getAttribute('class').trim().split(/\s+/).join('.')}` : '';
  const text = squeezed(element.textContent).slice(0, 40);
  return `<${element.tagName.toLowerCase()}${id}${kind}>${text && ` "${text}"`}`;
}
